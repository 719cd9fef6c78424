"""Drivers of sandboxes, as their session sees them.

`StartedDriver` is started for one submission, `forkserver.ForkedDriver` is forked by a server. Both
are modelled on `subprocess.Popen`: a driver runs until it is killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from typing import IO, Protocol

from nbmark.errors import SandboxUnavailable
from nbmark.sandbox.processes import Tree
from nbmark.sandbox.wire import Wire
from nbmark.untrusted.text import one_line

Input = int | IO[bytes]
MAX_ERROR_BYTES = 4096


@dataclass(frozen=True)
class Command:
    """A command that starts a program in a sandbox.

    Parameters
    ----------
    remedy
        The next step for the operator if the command fails.
    pass_fds
        Descriptors that the program inherits.
    own_folders
        The folders in the sandbox that are file systems of its own.
    work_folder
        A folder outside that the program works in and that is deleted with it; empty for none.
    """

    arguments: list[str]
    environment: dict[str, str]
    remedy: str
    pass_fds: tuple[int, ...] = ()
    own_folders: tuple[str, ...] = ()
    work_folder: str = ""


class Driver(Protocol):
    """A driver as its session sees it.

    Attributes
    ----------
    wire
        The connection to the driver, for the session alone.
    tree
        The driver's processes.
    own_folders, remedy
        As in `Command`.
    """

    wire: Wire
    tree: Tree
    own_folders: tuple[str, ...]
    remedy: str

    def kill(self) -> None:
        """Kill the driver and all its processes; may be called twice, from any thread."""

    def close(self) -> None:
        """Kill the driver and release its resources on this side; may be called twice."""

    def has_lost_its_server(self) -> bool:
        """Return whether the driver has ended because its fork server has ended."""

    def last_error_line(self) -> str:
        """Return the last line that the driver wrote to standard error, empty for none."""


class Program:
    """A process in a sandbox, with a record of its standard error.

    Raises
    ------
    SandboxUnavailable
        If it cannot be started at all.
    """

    def __init__(self, command: Command, stdin: Input, stdout: Input) -> None:
        # A file, because a full pipe would stop the process: it is read only after a failure.
        self._stderr: IO[bytes] = tempfile.TemporaryFile()
        try:
            self.process = subprocess.Popen(  # noqa: S603  # arguments are ours, no shell
                command.arguments,
                env=command.environment,
                pass_fds=command.pass_fds,
                stdin=stdin,
                stdout=stdout,
                stderr=self._stderr,
                # Ctrl-C in the operator's terminal must not reach the program: nbmark ends it.
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxUnavailable(
                f"{command.arguments[0]}: {error}; {command.remedy}"
            ) from error
        finally:
            for fd in command.pass_fds:
                os.close(fd)

    def kill(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()

    def close(self) -> None:
        self.kill()
        self.process.wait()
        self._stderr.close()

    def last_error_line(self) -> str:
        self._stderr.seek(0)
        text = self._stderr.read(MAX_ERROR_BYTES).decode("utf-8", "replace")
        lines = text.strip().splitlines()
        return one_line(lines[-1], 300) if lines else ""


class StartedDriver:
    """A driver that was started for one submission."""

    def __init__(self, command: Command) -> None:
        self._program = Program(command, subprocess.PIPE, subprocess.PIPE)
        self.wire = Wire.to_process(self._program.process)
        self.tree = Tree(self._program.process.pid)
        self.own_folders, self.remedy = command.own_folders, command.remedy
        self._work_folder = command.work_folder

    def kill(self) -> None:
        self._program.kill()

    def close(self) -> None:
        self._program.close()
        self.wire.close()
        if self._work_folder:
            # Without a sandbox, a student's process may still write here. Leftovers in the
            # temporary folder are no reason to lose a grade.
            shutil.rmtree(self._work_folder, ignore_errors=True)

    def has_lost_its_server(self) -> bool:
        return False

    def last_error_line(self) -> str:
        return self._program.last_error_line()
