"""The system calls that a student's notebook never needs, as a BPF program for bubblewrap."""

from __future__ import annotations

import errno
import functools
import os
import socket

FORBIDDEN = [
    "acct",
    "add_key",
    "bpf",
    "chroot",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "landlock_create_ruleset",
    "lookup_dcookie",
    "mbind",
    "memfd_secret",
    "migrate_pages",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "name_to_handle_at",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "personality",
    "pidfd_getfd",
    "pivot_root",
    "process_madvise",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "quotactl",
    "reboot",
    "request_key",
    "setdomainname",
    "sethostname",
    "setns",
    "swapoff",
    "swapon",
    "syslog",
    "umount2",
    "unshare",
    "uselib",
    "userfaultfd",
    "vhangup",
    # Memory that no tmpfs limit and no count of mapped pages would see.
    "memfd_create",
    "msgget",
    "semget",
    "shmget",
]

CLONE_NEWUSER_AND_OTHERS = 0x7E020000
ALLOWED_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)


@functools.cache
def program() -> bytes:
    """The filter, compiled once a process: listed calls fail with EPERM, everything else passes."""
    import pyseccomp  # which looks for its library for 20 ms; few processes need it

    refuse = pyseccomp.ERRNO(errno.EPERM)
    rules = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
    for call in FORBIDDEN:
        try:
            rules.add_rule(refuse, call)
        except (OSError, ValueError):  # unknown on this architecture or to this libseccomp
            continue
    # clone3 keeps its flags in memory, where a filter cannot look: glibc falls back to clone.
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    for bit in range(64):
        flag = 1 << bit
        if flag & CLONE_NEWUSER_AND_OTHERS:
            rules.add_rule(refuse, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag))
    for request in (0x5412, 0x541C):  # TIOCSTI and TIOCLINUX type into the terminal
        rules.add_rule(refuse, "ioctl", pyseccomp.Arg(1, pyseccomp.MASKED_EQ, 0xFFFFFFFF, request))
    for family in range(46):
        if family not in ALLOWED_FAMILIES:
            # The kernel looks at the lower half of the argument only.
            is_family = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, 0xFFFFFFFF, family)
            for call in ("socket", "socketpair"):
                rules.add_rule(refuse, call, is_family)
    fd = os.memfd_create("seccomp")
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            rules.export_bpf(file)
        os.lseek(fd, 0, os.SEEK_SET)
        return os.read(fd, 1 << 20)
    finally:
        os.close(fd)
