"""Two ways to a driver behind the wall: started for one submission, or forked by a server.

Both are modelled on `subprocess.Popen`: a driver runs until it is killed.
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


@dataclass(frozen=True)
class Command:
    """How to start a program behind a wall.

    Parameters
    ----------
    remedy
        What to say if it fails.
    pass_fds
        Descriptors that it inherits.
    own_folders
        The folders inside that are file systems of its own.
    work_folder
        A folder out here that it works in, which goes with it; empty for none.
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
        To the driver, for the session alone.
    tree
        Its processes.
    own_folders, remedy
        As in `Command`.
    """

    wire: Wire
    tree: Tree
    own_folders: tuple[str, ...]
    remedy: str

    def kill(self) -> None:
        """End it at once; may be called twice, from any thread."""

    def close(self) -> None:
        """End it and give back what it holds here; may be called twice."""

    def has_lost_its_server(self) -> bool:
        """Whether it has ended because the server ended that it was forked from."""

    def last_words(self) -> str:
        """What it said before it failed to start, one line."""


class Program:
    """A process behind a wall, whose complaints are kept.

    Raises
    ------
    SandboxUnavailable
        If it cannot be started at all.
    """

    def __init__(self, command: Command, stdin: Input, stdout: Input) -> None:
        self._complaints: IO[bytes] = tempfile.TemporaryFile()
        try:
            self.process = subprocess.Popen(  # noqa: S603  # arguments are ours, no shell
                command.arguments,
                env=command.environment,
                pass_fds=command.pass_fds,
                stdin=stdin,
                stdout=stdout,
                stderr=self._complaints,
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
        self._complaints.close()

    def last_words(self) -> str:
        self._complaints.seek(0)
        lines = self._complaints.read(4096).decode("utf-8", "replace").strip().splitlines()
        return one_line(lines[-1], 300) if lines else ""


class StartedDriver:
    """A driver that was started for this submission."""

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
            shutil.rmtree(self._work_folder, ignore_errors=True)

    def has_lost_its_server(self) -> bool:
        return False

    def last_words(self) -> str:
        return self._program.last_words()
