"""One submission's process: the driver behind its wall, the wire to it, and its watchdog."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import math
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from nbmark.errors import SandboxUnavailable
from nbmark.limits import Limits
from nbmark.safetext import one_line
from nbmark.sandboxes.watchdog import Watchdog
from nbmark.wire import Wire, WireClosed, WireGarbage, WireTimeout

START_TIMEOUT_S = 60.0
# The driver interrupts an overlong cell itself and needs a moment for it; past this it is lost.
MARGIN_S = 8.0
MAX_FRAME_BYTES = 32 << 20
MAX_COUNT = 1_000_000
STATUSES = ("ok", "error", "timeout", "stuck", "died")


@dataclass(frozen=True)
class Command:
    """How to start a driver.

    Parameters
    ----------
    remedy
        What to say if it fails.
    pass_fds
        Descriptors that it inherits.
    own_folders
        The folders inside that are file systems of its own.
    """

    arguments: list[str]
    environment: dict[str, str]
    remedy: str
    pass_fds: tuple[int, ...] = ()
    own_folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class CellRun:
    """What running one cell came to.

    Parameters
    ----------
    status
        ``ok``, ``error`` (the cell raised), ``timeout``, ``died`` or ``not run``.
    outputs
        As the kernel sent them: untrusted.
    """

    status: str
    outputs: list[Any] = field(default_factory=list)
    truncated: bool = False
    execution_count: int | None = None
    error_name: str = ""
    error_message: str = ""
    seconds: float = 0.0


class Session:
    """A kernel behind a wall, modelled on `subprocess.Popen`: it runs until it is closed.

    Attributes
    ----------
    ended
        None while it lives, else why it ended: ``died``, ``memory``, ``cpu``, ``cell cpu``,
        ``files``, ``time`` (of the submission), ``stuck`` (a cell would not be interrupted) or
        ``garbage`` (the process sent something that is no frame).
    """

    def __init__(self, command: Command, limits: Limits) -> None:
        self.limits = limits
        self.ended: str | None = None
        self._ids = itertools.count()
        self._nonce = secrets.token_hex(8)
        self._stderr: IO[bytes] = tempfile.TemporaryFile()
        self._process = self._spawn(command)
        self._wire = Wire.to_process(self._process)
        self._watchdog = Watchdog(self._process.pid, limits, command.own_folders)
        self._wall_s = limits.submission_timeout_s
        self._stop_at = math.inf  # the clock starts with the first request
        self._remedy = command.remedy
        self._started = False
        # Sent now, awaited with the first request: the kernel starts while pytest collects.
        self._send("start", time.monotonic() + START_TIMEOUT_S, {
            "limits": limits.of_each_process(), "timeout_s": START_TIMEOUT_S})  # fmt: skip

    def allow(self, wall_s: float, cpu_s: float) -> None:
        """Before the first request: at most so much time, where other sessions used some of it."""
        self._wall_s = wall_s
        self._watchdog.allow(cpu_s)

    @property
    def cpu_used_s(self) -> float:
        """CPU time of all its processes so far."""
        return self._watchdog.cpu_used_s

    def furnish(self, files: Mapping[str, bytes], environment: Mapping[str, str]) -> None:
        """Put files into the working directory and set environment variables, before any cell."""
        text = json.dumps({
            "files": {name: base64.b64encode(data).decode() for name, data in files.items()},
            "environment": dict(environment)})  # fmt: skip
        reply = self._request("furnish", START_TIMEOUT_S, {
            "text": text, "timeout_s": START_TIMEOUT_S})  # fmt: skip
        if reply is None or reply.get("status") != "ok":
            self.close()
            raise SandboxUnavailable(
                f"the assignment's files could not be put into the sandbox; {self._remedy}"
            )

    def run_cell(self, code: str, timeout_s: float) -> CellRun:
        """Run one cell; afterwards `ended` says whether the session is still alive."""
        if self.ended:
            return CellRun("not run")
        began = time.monotonic()
        with self._watchdog.cell():
            reply = self._request("cell", timeout_s, {
                "code": code, "timeout_s": timeout_s,
                "max_output_bytes": self.limits.cell_output_kib << 10})  # fmt: skip
        if reply is None or reply.get("status") not in STATUSES:
            self._end("died" if reply is None else "garbage")
            return CellRun("died", seconds=time.monotonic() - began)
        if reply["status"] in ("died", "stuck"):
            self._end(reply["status"])
        outputs, count = reply.get("outputs"), reply.get("execution_count")
        return CellRun(
            status="timeout" if reply["status"] == "stuck" else reply["status"],
            outputs=outputs if isinstance(outputs, list) else [],
            truncated=bool(reply.get("truncated")),
            execution_count=count if type(count) is int and 0 <= count < MAX_COUNT else None,
            error_name=one_line(str(reply.get("error_name", "")), 200),
            error_message=one_line(str(reply.get("error_message", "")), 500),
            seconds=time.monotonic() - began,
        )

    def ask(self, question: str) -> str | None:
        """The answer as JSON text, empty if it came too late; None once the session has ended."""
        if self.ended:
            return None
        timeout_s = self.limits.question_timeout_s
        reply = self._request("ask", timeout_s, {
            "question": question, "timeout_s": timeout_s,
            "max_bytes": self.limits.answer_kib << 10})  # fmt: skip
        if reply is None or reply.get("status") in ("died", "stuck"):
            self._end("died" if reply is None else reply["status"])
            return None
        answer = reply.get("answer")
        return answer if reply.get("status") == "ok" and isinstance(answer, str) else ""

    def close(self) -> None:
        """End the process and everything it started; may be called twice."""
        self._watchdog.stop()
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._wire.close()
        self._stderr.close()

    def _spawn(self, command: Command) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603  # arguments are ours, no shell
                command.arguments, env=command.environment, pass_fds=command.pass_fds,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise SandboxUnavailable(
                f"{command.arguments[0]}: {error}; {command.remedy}"
            ) from error
        finally:
            for fd in command.pass_fds:
                os.close(fd)

    def _request(
        self, op: str, timeout_s: float, arguments: dict[str, Any]
    ) -> dict[str, Any] | None:
        """The driver's reply, or None if the session ended over it."""
        self._await_start()
        deadline = min(time.monotonic() + timeout_s + MARGIN_S, self._stop_at)
        return self._receive(self._send(op, deadline, arguments), deadline)

    def _await_start(self) -> None:
        if self._started:
            return
        deadline = time.monotonic() + START_TIMEOUT_S
        reply = self._receive(self._expected, deadline)
        if reply is None or reply.get("status") != "ok":
            said = self._last_words() or str((reply or {}).get("message", "")) or "it said nothing"
            self.close()
            raise SandboxUnavailable(f"the sandbox did not start ({said}); {self._remedy}")
        self._started = True
        self._stop_at = time.monotonic() + self._wall_s
        self._watchdog.start()

    def _send(self, op: str, deadline: float, arguments: dict[str, Any]) -> str:
        self._expected = f"{self._nonce}-{next(self._ids)}"
        # Where the process is gone already, the reply that never comes tells.
        with contextlib.suppress(WireClosed, WireTimeout):
            self._wire.send({"id": self._expected, "op": op, "args": arguments}, deadline=deadline)
        return self._expected

    def _receive(self, request_id: str, deadline: float) -> dict[str, Any] | None:
        try:
            reply = self._wire.receive(deadline=deadline, max_bytes=MAX_FRAME_BYTES)
        except WireClosed:
            self._end("died")
        except WireTimeout:
            self._end("time")
        except WireGarbage:
            self._end("garbage")
        else:
            if reply.get("id") == request_id:
                return reply
            self._end("garbage")
        return None

    def _end(self, reason: str) -> None:
        self.ended = self.ended or self._watchdog.reason or reason
        if self._process.poll() is None:
            self._process.kill()

    def _last_words(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read(4096).decode("utf-8", "replace").strip().splitlines()
        return one_line(lines[-1], 300) if lines else ""
