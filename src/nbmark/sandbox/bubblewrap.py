"""The sandbox of bubblewrap: namespaces, a seccomp filter, and a step down from root first."""

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
# The places in the sandbox of the Python environment and of nbmark's own programs.
ENVIRONMENT, PROGRAMS = "/opt/python", "/opt/nbmark"
WRITABLE = ("/work", "/tmp", "/dev/shm")  # each a tmpfs of the sandbox's own
SYSTEM = """
    /usr /bin /sbin /lib /lib32 /lib64
    /etc/alternatives /etc/fonts /etc/ld.so.cache /etc/localtime /etc/ssl/certs /etc/mime.types
""".split()
# nbgrader's exchange lies here by default, below a folder that the sandbox shows. Students must
# not read each other's submissions in it.
HIDDEN = ["/usr/local/share/nbgrader"]
# A user id that no account has. Root steps down to an id from here on before it builds anything.
STEP_DOWN_ID = 1_900_000_000
STEP_DOWN_IDS = 100_000_000
REMEDY = "run 'nbmark doctor' to see what this machine lacks"
# Folders that only root can reach must stay readable by path after root has become an ordinary
# user. So root first shows them under /mnt, in a mount namespace that nothing else sees.
STEP_DOWN_SCRIPT = """
set -e
mount -t tmpfs -o mode=755,size=64k nbmark /mnt
n=0
while [ "$1" != -- ]; do mkdir /mnt/$n; mount --bind "$1" /mnt/$n; n=$((n + 1)); shift; done
shift
exec setpriv --reuid "$NBMARK_ID" --regid "$NBMARK_ID" --clear-groups --no-new-privs "$@"
"""
STEP_DOWN = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", STEP_DOWN_SCRIPT]
# --unshare-user stands beside --unshare-all because --disable-userns demands it.
# --die-with-parent ends the sandbox when the check process is killed and cannot do so itself.
# --as-pid-1 makes the driver process 1, which nothing inside can kill, in bubblewrap's place.
# --new-session keeps students' code from typing into the operator's terminal.
ISOLATION = """
    --unshare-all --unshare-user --die-with-parent --as-pid-1 --new-session --cap-drop ALL
    --uid 1000 --gid 1000 --hostname sandbox --clearenv --proc /proc --dev /dev
""".split()
# nbgrader takes the name of the user for the student's id, or JUPYTERHUB_USER if the name is this.
USER = "jovyan"
# The programs of a virtual environment name its interpreter by the path that it has out here.
# Notebooks call this one of them.
PIP = f'#!/bin/sh\nexec {ENVIRONMENT}/bin/python -m pip "$@"\n'
COMMANDS = "/opt/commands"
SMALL_FILES = {
    "/etc/passwd": f"root:x:0:0::/:/bin/sh\n{USER}:x:1000:1000::/work:/bin/sh\n",
    "/etc/group": f"root:x:0:\n{USER}:x:1000:\n",
    f"{COMMANDS}/pip": PIP,
    f"{COMMANDS}/pip3": PIP,
}
VARIABLES = {
    "PATH": f"{COMMANDS}:{ENVIRONMENT}/bin:/usr/bin:/bin",
    "HOME": "/work",
    "USER": USER,
    "LOGNAME": USER,
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",
    "MPLCONFIGDIR": "/tmp/matplotlib",
    "IPYTHONDIR": "/tmp/ipython",
    # ipykernel's application would set this, but only its kernel class is used here.
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "JUPYTER_RUNTIME_DIR": "/tmp",
    # There is no network. Without these pip would try to reach it for half a minute a library.
    "PIP_NO_INDEX": "1",
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    # A notebook that imports debugpy would show its warning about frozen modules.
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    # Each worker has one processor. A library that starts its threads on import could not be
    # shared by a fork server either, because no thread survives a fork.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # TensorFlow would write its start-up notes among the outputs of the first cell.
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # oneDNN sums in an order that depends on the processor, and costs each child 60 ms.
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def driver_command(limits: Limits) -> Command:
    """Return the command for a driver in a sandbox, as root or as an ordinary user.

    Raises
    ------
    SandboxUnavailable
        If bubblewrap is not installed.
    """
    filter_fd = _readable(seccomp_program())
    restrictions = ["--disable-userns", "--seccomp", str(filter_fd)]
    return _command(limits, "driver", restrictions, (filter_fd,))


def server_command(limits: Limits) -> Command:
    """Return the command for a fork server, whose children isolate themselves.

    Raises
    ------
    SandboxUnavailable
        If bubblewrap is not installed.
    """
    # Its children create user namespaces (`inside/isolation.py`), so nothing may forbid them here.
    # No student's code runs in the server itself.
    return _command(limits, "server", [], ())


def visible_above(folder: Path) -> Path | None:
    """Return the path that the sandbox shows and that holds `folder`, or None."""
    place = folder.resolve()
    for visible in (*map(Path, SYSTEM), *_private_folders()):
        if place.is_relative_to(visible.resolve()):
            return visible
    return None


def _command(limits: Limits, role: str, restrictions: list[str], fds: tuple[int, ...]) -> Command:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxUnavailable("bubblewrap is not installed: run 'apt-get install bubblewrap'")
    folders = _private_folders()
    fonts_name, fonts = _font_list()
    fonts_fd = _readable(fonts)
    small_files = {path: _readable(text.encode()) for path, text in SMALL_FILES.items()}
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    step_down: list[str] = []
    places = {str(outside): inside for outside, inside in folders.items()}
    if os.geteuid() == 0:
        step_down = [*STEP_DOWN, "sh", *map(str, folders), "--"]
        places = {f"/mnt/{n}": inside for n, inside in enumerate(folders.values())}
        # Each nbmark process takes another id, so limits that the kernel counts for a user do not
        # add up over all of them.
        environment["NBMARK_ID"] = str(STEP_DOWN_ID + os.getpid() % STEP_DOWN_IDS)
    arguments = [
        *step_down,
        *(bwrap, *ISOLATION, *_tmpfs_arguments(limits)),
        *("--chdir", "/work", "--file", str(fonts_fd), f"/tmp/matplotlib/{fonts_name}"),
        *_variable_arguments(),
        *_system_arguments(),
        *_file_arguments(small_files),
        *restrictions,
        *_bind_arguments(places),
        *("--remount-ro", "/", "--"),  # last: no place to mount can be made afterwards
        *(f"{ENVIRONMENT}/bin/python", "-I", f"{PROGRAMS}/start.py", role),
    ]
    inherited = (*fds, fonts_fd, *small_files.values())
    return Command(arguments, environment, REMEDY, inherited, WRITABLE)


def _private_folders() -> dict[Path, str]:
    """Return the folders shown beside the system's, with their places in the sandbox."""
    places = {Path(sys.prefix): ENVIRONMENT, INSIDE: PROGRAMS}
    # A virtual environment links to the interpreter that it was made from, by its path out here.
    if not Path(sys.base_prefix).is_relative_to("/usr"):
        places[Path(sys.base_prefix)] = sys.base_prefix
    return places


def _tmpfs_arguments(limits: Limits) -> list[str]:
    size = str(limits.disk_mib << 20)
    tmpfs = [part for folder in WRITABLE for part in ("--size", size, "--tmpfs", folder)]
    return [*tmpfs, "--remount-ro", "/dev"]  # after /dev/shm has been mounted on it


def _variable_arguments() -> list[str]:
    return [part for name, value in VARIABLES.items() for part in ("--setenv", name, value)]


def _system_arguments() -> list[str]:
    arguments: list[str] = []
    for path in SYSTEM:
        # On most systems /bin is a link to /usr/bin. The sandbox gets the same link instead of a
        # second mount.
        if os.path.islink(path):
            arguments += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            arguments += ["--ro-bind", path, path]
    for path in filter(os.path.isdir, HIDDEN):
        arguments += ["--size", "4096", "--tmpfs", path, "--remount-ro", path]
    return arguments


def _file_arguments(files: dict[str, int]) -> list[str]:
    each = [("--perms", "0755", "--file", str(fd), path) for path, fd in files.items()]
    return [part for arguments in each for part in arguments]


def _bind_arguments(places: dict[str, str]) -> list[str]:
    return [part for outside, inside in places.items() for part in ("--ro-bind", outside, inside)]


@functools.cache
def _font_list() -> tuple[str, bytes]:
    """Return the name and content of Matplotlib's list of fonts.

    Matplotlib takes a second to make it, and each sandbox starts without files. So it is made
    once for each Python environment and copied in.
    """
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
    font_list = sorted(folder.glob("fontlist-*.json"))[0]
    return font_list.name, font_list.read_bytes()


def _readable(data: bytes) -> int:
    """Return a descriptor from which a child process can read `data` once."""
    fd = os.memfd_create("nbmark")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
