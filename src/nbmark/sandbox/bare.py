"""No sandbox: for developing nbmark where bubblewrap cannot run, never for students' work."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from pathlib import Path

from nbmark.limits import Limits
from nbmark.sandbox.drivers import Command

START = Path(__file__).parent / "inside" / "start.py"


def driver_command(limits: Limits) -> Command:
    """Return the command for a driver in an empty folder; warns loudly that this is unsafe."""
    warnings.warn("--sandbox none: students' code runs with your rights", stacklevel=2)
    folder = tempfile.mkdtemp(prefix="nbmark-bare-")
    environment = {
        "PATH": os.defpath,
        "HOME": folder,
        "USER": "jovyan",  # as in `bubblewrap`
        "LOGNAME": "jovyan",
        "LANG": "C.UTF-8",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "OMP_NUM_THREADS": "1",
    }
    shell = ["sh", "-c", 'cd "$0" && exec "$@"', folder, sys.executable, "-I", str(START), "driver"]
    return Command(shell, environment, "see the message above", work_folder=folder)


def visible_above(folder: Path) -> Path | None:
    """Return None: every folder is visible, which the warning has said."""
    return None
