"""System calls that a student's notebook never needs, as a BPF program for bubblewrap."""

from __future__ import annotations

import errno
import functools
import os
import socket
from typing import Any

FORBIDDEN = [
    # These read or change another process: its memory, its descriptors, its state.
    *"kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace".split(),
    # These change the namespaces and mounts of a process. A file handle names a file by number, so
    # it would reach files outside the sandbox's mounts.
    *"""
    chroot fsconfig fsmount fsopen fspick mount mount_setattr move_mount name_to_handle_at
    open_by_handle_at open_tree pivot_root setdomainname sethostname setns umount2 unshare
    """.split(),
    # These administer the machine as a whole.
    *"""
    acct delete_module fanotify_init finit_module init_module ioperm iopl kexec_file_load
    kexec_load lookup_dcookie migrate_pages mbind move_pages nfsservctl quotactl reboot swapoff
    swapon syslog uselib vhangup
    """.split(),
    # A notebook has no secrets to keep in the kernel's keyrings.
    *"add_key keyctl request_key".split(),
    # Notebooks do not need these, and an attacker cannot use a hole in a call that is forbidden.
    *"""
    bpf io_uring_enter io_uring_register io_uring_setup landlock_create_ruleset memfd_secret
    perf_event_open personality userfaultfd
    """.split(),
    # These give memory that no tmpfs limit and no count of mapped pages would see.
    *"memfd_create msgget semget shmget".split(),
]
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET together.
NAMESPACE_FLAGS = 0x7E020000
FLAG_BITS = 64
# Both make the terminal believe that its user typed something.
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
# Linux numbers its socket families from 0. Programs ask over netlink which interfaces there are.
FAMILIES = range(46)
ALLOWED_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
# The kernel reads only the lower half of these arguments. A rule that compared all of it would
# miss a value with further bits set above.
LOWER_HALF = 0xFFFFFFFF
MAX_PROGRAM_BYTES = 1 << 20


@functools.cache
def program() -> bytes:
    """Return the compiled filter: the listed calls fail with EPERM, all others pass."""
    # Imported here because pyseccomp searches for its library for 20 ms, and few processes need it.
    import pyseccomp

    refuse = pyseccomp.ERRNO(errno.EPERM)
    rules = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
    for call in FORBIDDEN:
        try:
            rules.add_rule(refuse, call)
        except (OSError, ValueError):  # this architecture or this libseccomp lacks the call
            continue
    # A filter cannot read clone3's flags, which lie in memory. ENOSYS makes glibc fall back to
    # clone, whose flags the next rules check.
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    for flag in (1 << bit for bit in range(FLAG_BITS)):
        if flag & NAMESPACE_FLAGS:
            rules.add_rule(refuse, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag))
    for request in (TIOCSTI, TIOCLINUX):
        is_request = pyseccomp.Arg(1, pyseccomp.MASKED_EQ, LOWER_HALF, request)
        rules.add_rule(refuse, "ioctl", is_request)
    for family in FAMILIES:
        if family not in ALLOWED_FAMILIES:
            is_family = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, LOWER_HALF, family)
            for call in ("socket", "socketpair"):
                rules.add_rule(refuse, call, is_family)
    return _compiled(rules)


def _compiled(rules: Any) -> bytes:
    # libseccomp writes its program to a file descriptor only.
    fd = os.memfd_create("seccomp")
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            rules.export_bpf(file)
        os.lseek(fd, 0, os.SEEK_SET)
        return os.read(fd, MAX_PROGRAM_BYTES)
    finally:
        os.close(fd)
