"""A sandbox for each child of a fork server, built within the server's own sandbox.

The server has no capabilities and no filter on its system calls. A child enters a new user
namespace, in which it has every capability, and uses them to set up the other namespaces. It gives
all of them up for good before it runs any student code.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct

libc = ctypes.CDLL(None, use_errno=True)
# PyDLL keeps the GIL during a call, CDLL releases it. A fork needs the GIL: otherwise the child
# could inherit it locked by a thread that the fork did not copy.
python = ctypes.PyDLL(None, use_errno=True)

CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
# The kernel creates the user namespace first, so the child may create the others without any
# privilege outside. The limit on the number of processes also counts for each user namespace by
# itself, so one child cannot use up the processes of another.
NEW_NAMESPACES = (
    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC
)
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x8, 0x4000, 0x40000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_CAP_AMBIENT = 38, 22, 24, 47
PR_CAP_AMBIENT_CLEAR_ALL, SECCOMP_MODE_FILTER = 4, 2
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
CAPABILITY_VERSION_3, CAPABILITIES = 0x20080522, 64
# By number, because glibc's `clone` runs a function in the child instead of returning there.
SYS_CAPSET, SYS_CLONE = {"x86_64": (126, 56), "aarch64": (91, 220)}[os.uname().machine]
# Read before the fork: a new user namespace maps no ids, so a child would read 65534.
USER, GROUP = os.getuid(), os.getgid()


def fork_into_namespaces():
    """Fork like `os.fork`, but make the child process 1 of its own namespaces.

    Raises
    ------
    OSError
        If this machine allows no namespaces here.
    """
    # `unshare` puts only the next child into a new PID namespace, so it would take two forks. With
    # TensorFlow loaded a fork takes 25 ms.
    python.PyOS_BeforeFork()
    # Stack 0 means a copy of the caller's, as in a fork. `waitpid` expects SIGCHLD at the end.
    pid = python.syscall(SYS_CLONE, NEW_NAMESPACES | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        python.PyOS_AfterFork_Child()
    else:
        python.PyOS_AfterFork_Parent()
    _check(min(pid, 0), "clone into new namespaces")
    return pid


def isolate(folders, size_bytes, seccomp):
    """Isolate the calling child: give it empty folders, its own /proc and terminals, and no rights.

    Parameters
    ----------
    folders
        Folders that the child may write to; each becomes a tmpfs of `size_bytes`.
    seccomp
        The compiled filter for its system calls.

    Raises
    ------
    OSError
        If a step fails; the child must not go on then.
    """
    # A process group spans PID namespaces. In the server's group, `kill(0, …)` of one child would
    # reach the server and all other children.
    os.setsid()
    _map_ids()
    _enable_loopback()
    _mount_all(folders, size_bytes)
    # In a further user namespace a student's code would have every capability again. Writing here
    # needs a capability itself, so it comes before they are dropped.
    _write("/proc/sys/user/max_user_namespaces", "0")
    _drop_capabilities()
    # The kernel takes a filter from an unprivileged process only if no later program can gain
    # privileges under it. The filter comes last, because it forbids the calls made above.
    _check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _install_filter(seccomp)


def _map_ids():
    """Map the user and group id, which the new user namespace does not know yet."""
    # With no id mapped, the child could create no file. The kernel lets an unprivileged process
    # map its group only after it has given up setgroups.
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{USER} {USER} 1")
    _write("/proc/self/gid_map", f"{GROUP} {GROUP} 1")


def _mount_all(folders, size_bytes):
    """Mount empty folders, /proc and terminals over the server's."""
    # Private: no mount passes between the server's namespace and this one, in either direction.
    _check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount /")
    for folder in folders:
        _mount("tmpfs", folder, MS_NOSUID | MS_NODEV, f"mode=755,size={size_bytes}")
    # The server's /proc would list the processes of its namespace, with all other children.
    _mount("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "")
    _mount("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    # The working directory is still the server's folder, which the new one only hides.
    os.chdir(folders[0])


def _mount(kind, folder, flags, options):
    arguments = (kind.encode(), folder.encode(), kind.encode(), flags, options.encode())
    _check(libc.mount(*arguments), f"mount {folder}")


def _enable_loopback():
    """Let the programs of one submission talk to each other; the network holds no others."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def _write(path, text):
    with open(path, "w") as file:
        file.write(text)


def _drop_capabilities():
    """Drop all capabilities from every set, so that no program can bring one back."""
    # The bounding set first, because dropping from it needs a capability. The kernel refuses
    # numbers that it does not know, so those errors are ignored.
    for number in range(CAPABILITIES):
        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    _check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient capabilities")
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    # Six zeros: effective, permitted and inheritable, two words of 32 bits each.
    _check(libc.syscall(SYS_CAPSET, header, (ctypes.c_uint32 * 6)()), "capset")


def _install_filter(program):
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    code = ctypes.create_string_buffer(program, len(program))
    # The kernel counts instructions of 8 bytes each.
    header = Program(len(program) // 8, ctypes.cast(code, ctypes.c_void_p))
    _check(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(header), 0, 0), "seccomp")


def _check(result, step):
    """Raise an OSError that names the step if a call has failed."""
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{step}: {os.strerror(ctypes.get_errno())}")
