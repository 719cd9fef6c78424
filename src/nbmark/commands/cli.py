"""The program ``nbmark``; each command is a file beside this one.

Results go to standard output, the log to standard error. Exit status: 0 success, 1 something was
not graded or not as expected, 2 a name that does not exist or options that do not fit, 130
interrupted.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys
from typing import NoReturn

import click

from nbmark._version import __version__
from nbmark.commands.doctor import doctor
from nbmark.commands.grade import grade
from nbmark.commands.one_line_errors import OneLineErrors
from nbmark.commands.regrade import regrade
from nbmark.commands.verify import verify


def program() -> NoReturn:
    """Run `main`, then end the process without the half second that the interpreter needs."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The encoding of the terminal may lack the letters of a student's id.
        sys.stdout.reconfigure(errors="backslashreplace")
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    with contextlib.suppress(OSError):  # the reader of a pipe has ended
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


@click.group(cls=OneLineErrors)
@click.version_option(__version__)
def main() -> None:
    """Grade an nbgrader course with hidden checks in a sandbox."""
    # Imported modules are never freed. At the default threshold of 700 objects, garbage collection
    # takes a fifth of start-up.
    gc.set_threshold(50_000)


for command in (grade, regrade, verify, doctor):
    main.add_command(command)


if __name__ == "__main__":
    program()
