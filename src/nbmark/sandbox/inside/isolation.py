"""A wall around one child of a fork server, inside the wall that the server stands in.

The server has no capability and no filter over its system calls. A child enters a user namespace of
its own and with it all others, with empty folders to write to, and gives up for good what it got
there before it runs a line of a student's.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct

libc = ctypes.CDLL(None, use_errno=True)
python = ctypes.PyDLL(None, use_errno=True)  # its calls keep the interpreter's lock, as a fork must

# Limits on the number of processes count for each user namespace by itself.
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
APART = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x8, 0x4000, 0x40000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_CAP_AMBIENT = 38, 22, 24, 47
PR_CAP_AMBIENT_CLEAR_ALL, SECCOMP_MODE_FILTER = 4, 2
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
CAPABILITY_VERSION_3, CAPABILITIES = 0x20080522, 64
SYS_CAPSET, SYS_CLONE = {"x86_64": (126, 56), "aarch64": (91, 220)}[os.uname().machine]
USER, GROUP = os.getuid(), os.getgid()  # a new namespace does not know them at first


def fork_apart():
    """As `os.fork`, but the child is the first process of namespaces of its own."""
    # One step less than to fork, unshare and fork again: with TensorFlow each fork takes 25 ms.
    python.PyOS_BeforeFork()
    pid = python.syscall(SYS_CLONE, APART | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        python.PyOS_AfterFork_Child()
    else:
        python.PyOS_AfterFork_Parent()
    _check(min(pid, 0), "namespaces")
    return pid


def close_in(folders, size_bytes, seccomp):
    """In that child: new folders to write to, its own /proc and terminals; no way back.

    `seccomp` is the compiled filter.
    """
    os.setsid()  # a signal to one's own process group reaches through namespaces
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{USER} {USER} 1")
    _write("/proc/self/gid_map", f"{GROUP} {GROUP} 1")
    _raise_loopback()
    _check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount /")
    for folder in folders:
        _mount("tmpfs", folder, MS_NOSUID | MS_NODEV, f"mode=755,size={size_bytes}")
    _mount("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "")
    _mount("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    os.chdir(folders[0])
    _write("/proc/sys/user/max_user_namespaces", "0")
    _drop_capabilities()
    _check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _filter(seccomp)


def _mount(kind, folder, flags, options):
    arguments = (kind.encode(), folder.encode(), kind.encode(), flags, options.encode())
    _check(libc.mount(*arguments), f"mount {folder}")


def _raise_loopback():
    """Programs of one submission may talk to each other; nobody else is on this network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def _write(path, text):
    with open(path, "w") as file:
        file.write(text)


def _drop_capabilities():
    for number in range(CAPABILITIES):  # numbers that this kernel does not know fail: none is left
        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    _check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient capabilities")
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    _check(libc.syscall(SYS_CAPSET, header, (ctypes.c_uint32 * 6)()), "capset")


def _filter(program):
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    code = ctypes.create_string_buffer(program, len(program))
    found = Program(len(program) // 8, ctypes.cast(code, ctypes.c_void_p))
    _check(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(found), 0, 0), "seccomp")


def _check(status, what):
    if status != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
