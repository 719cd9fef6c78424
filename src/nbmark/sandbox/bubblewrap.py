"""The wall: bubblewrap's namespaces, a seccomp filter, and a step down from root first."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from nbmark.errors import SandboxUnavailable
from nbmark.limits import Limits
from nbmark.sandbox.drivers import Command
from nbmark.sandbox.seccomp import program as seccomp_program

INSIDE = Path(__file__).parent / "inside"
# Where the Python environment and our own programs stand inside the wall.
ENVIRONMENT, PROGRAMS = "/opt/python", "/opt/nbmark"
WRITABLE = ("/work", "/tmp", "/dev/shm")  # each a tmpfs of the sandbox's own
SYSTEM = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl/certs",
    "/etc/mime.types",
]
# What lies below these and is nobody's business: nbgrader's exchange, where that is by default.
HIDDEN = ["/usr/local/share/nbgrader"]
# An id that belongs to nobody: root's grading steps down to it before anything is built.
STEP_DOWN_ID = 1_900_000_000
REMEDY = "run 'nbmark doctor' to see what this machine lacks"
# Root's private mount namespace shows folders that only root can reach under /mnt, read by path
# by the ordinary user that root then becomes.
STEP_DOWN_SCRIPT = """
set -e
mount -t tmpfs -o mode=755,size=64k nbmark /mnt
n=0
while [ "$1" != -- ]; do mkdir /mnt/$n; mount --bind "$1" /mnt/$n; n=$((n + 1)); shift; done
shift
exec setpriv --reuid "$NBMARK_ID" --regid "$NBMARK_ID" --clear-groups --no-new-privs "$@"
"""


def driver_command(limits: Limits) -> Command:
    """How to start a driver behind the wall, as root or as an ordinary user.

    Raises
    ------
    SandboxUnavailable
        If bubblewrap is not installed.
    """
    filter_fd = _readable(seccomp_program())
    closed = ["--disable-userns", "--seccomp", str(filter_fd)]
    return _command(limits, "driver", closed, (filter_fd,))


def server_command(limits: Limits) -> Command:
    """The same for a fork server; its children close themselves in (`inside/isolation.py`)."""
    # It may make user namespaces, since they do, and runs no student's code.
    return _command(limits, "server", [], ())


def visible_above(folder: Path) -> Path | None:
    """The path that is shown inside the wall and holds `folder`, None if there is none."""
    place = folder.resolve()
    for shown in (*map(Path, SYSTEM), *_ours()):
        if place.is_relative_to(shown.resolve()):
            return shown
    return None


def _command(limits: Limits, role: str, closed: list[str], fds: tuple[int, ...]) -> Command:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxUnavailable("bubblewrap is not installed: run 'apt-get install bubblewrap'")
    private = _ours()
    fonts_fd = _readable(_font_list()[1])
    inner = [*_wall(bwrap, limits, fonts_fd), *closed]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    if os.geteuid() == 0:
        outer = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "--",
            "sh",
            "-c",
            STEP_DOWN_SCRIPT,
            "sh",
            *map(str, private),
            "--",
        ]
        inner += _bind({f"/mnt/{n}": inside for n, inside in enumerate(private.values())})
        environment["NBMARK_ID"] = str(STEP_DOWN_ID + os.getpid() % 100_000_000)
    else:
        outer = []
        inner += _bind({str(outside): inside for outside, inside in private.items()})
    inner += [
        "--remount-ro",
        "/",
        "--",
        f"{ENVIRONMENT}/bin/python",
        "-I",
        f"{PROGRAMS}/start.py",
        role,
    ]
    return Command([*outer, *inner], environment, REMEDY, (*fds, fonts_fd), WRITABLE)


def _ours() -> dict[Path, str]:
    """Folders beside the system's that are shown inside, and where they stand there."""
    found = {Path(sys.prefix): ENVIRONMENT, INSIDE: PROGRAMS}
    if not Path(sys.base_prefix).is_relative_to("/usr"):
        found[Path(sys.base_prefix)] = sys.base_prefix
    return found


def _wall(bwrap: str, limits: Limits, fonts_fd: int) -> list[str]:
    size = str(limits.disk_mib << 20)
    inside = {
        "PATH": f"{ENVIRONMENT}/bin:/usr/bin:/bin",
        "HOME": "/work",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",
        "MPLCONFIGDIR": "/tmp/matplotlib",
        "IPYTHONDIR": "/tmp/ipython",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "JUPYTER_RUNTIME_DIR": "/tmp",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # Its kernels sum in an order that depends on the processor, and cost each child 60 ms.
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
    arguments = [
        bwrap,
        "--unshare-all",
        "--unshare-user",
        "--die-with-parent",
        "--as-pid-1",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--uid",
        "1000",
        "--gid",
        "1000",
        "--hostname",
        "sandbox",
        "--clearenv",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        *(part for folder in WRITABLE for part in ("--size", size, "--tmpfs", folder)),
        "--remount-ro",
        "/dev",
        "--chdir",
        "/work",
        "--file",
        str(fonts_fd),
        f"/tmp/matplotlib/{_font_list()[0]}",
    ]
    for name, value in inside.items():
        arguments += ["--setenv", name, value]
    for path in SYSTEM:
        if os.path.islink(path):
            arguments += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            arguments += ["--ro-bind", path, path]
    for path in filter(os.path.isdir, HIDDEN):
        arguments += ["--size", "4096", "--tmpfs", path, "--remount-ro", path]
    return arguments


def _bind(places: dict[str, str]) -> list[str]:
    return [part for outside, inside in places.items() for part in ("--ro-bind", outside, inside)]


@functools.cache
def _font_list() -> tuple[str, bytes]:
    """Name and content of Matplotlib's list of fonts, which takes a second to make anew."""
    key = hashlib.sha256(sys.prefix.encode()).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "nbmark" / f"matplotlib-{key}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not list(folder.glob("fontlist-*.json")):
        subprocess.run(  # our own interpreter
            [sys.executable, "-c", "import matplotlib.font_manager"],
            check=True,
            env={**os.environ, "MPLCONFIGDIR": str(folder)},
            capture_output=True,
        )
    found = sorted(folder.glob("fontlist-*.json"))[0]
    return found.name, found.read_bytes()


def _readable(data: bytes) -> int:
    """An inheritable descriptor from which `data` can be read once."""
    fd = os.memfd_create("nbmark")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
