"""A driver at work: requests and replies over its wire, deadlines, and its watchdog."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nbmark.errors import SandboxUnavailable, ServerLost
from nbmark.limits import Limits
from nbmark.sandbox.drivers import Driver
from nbmark.sandbox.watchdog import Watchdog
from nbmark.sandbox.wire import WireClosed, WireGarbage, WireTimeout
from nbmark.untrusted.text import one_line

START_TIMEOUT_S = 60.0
# The driver interrupts an overlong cell itself and needs a moment for it; past this it is lost.
MARGIN_S = 8.0
MAX_FRAME_BYTES = 32 << 20
MAX_COUNT = 1_000_000
UNLIMITED = MAX_FRAME_BYTES
ENDS = ("stuck", "died", "garbage")  # of the kernel
STATUSES = ("ok", "error", "timeout", *ENDS)
SEEN_AS = {"stuck": "timeout", "garbage": "died"}


@dataclass(frozen=True)
class CellRun:
    """What running one cell came to.

    Parameters
    ----------
    status
        ``ok``, ``error`` (the cell raised), ``timeout``, ``died`` or ``not run``.
    outputs, size_bytes
        As the kernel sent them: untrusted; and how many bytes came with them.
    """

    status: str
    outputs: list[Any] = field(default_factory=list)
    truncated: bool = False
    execution_count: int | None = None
    error_name: str = ""
    error_message: str = ""
    size_bytes: int = 0


class Session:
    """A kernel behind a wall, modelled on `subprocess.Popen`: it runs until it is closed.

    Attributes
    ----------
    ended
        None while it lives, else why it ended: ``died``, ``memory``, ``cpu``, ``cell cpu``,
        ``files``, ``sockets``, ``time`` (of the submission), ``stuck`` (a cell would not be
        interrupted) or ``garbage`` (the process sent something that is no frame).
    """

    def __init__(self, driver: Driver, limits: Limits) -> None:
        self.limits = limits
        self.ended: str | None = None
        self._ids = itertools.count()
        self._nonce = secrets.token_hex(8)
        self._driver = driver
        self._watchdog = Watchdog(driver.tree, limits, driver.own_folders)
        self._wall_s = limits.submission_timeout_s
        self._stop_at = math.inf  # the clock starts with the first request
        self._started = False
        # Sent now, awaited with the first request: the kernel starts while pytest collects.
        self._send(
            "start", time.monotonic() + START_TIMEOUT_S, {"limits": limits.of_each_process()}
        )

    def allow(self, wall_s: float, cpu_s: float) -> None:
        """Before the first request: at most so much time in all."""
        self._wall_s = wall_s
        self._watchdog.allow(cpu_s)

    @property
    def cpu_used_s(self) -> float:
        """CPU time of all its processes so far."""
        return self._watchdog.cpu_used_s

    def furnish(self, files: Mapping[str, bytes], environment: Mapping[str, str]) -> None:
        """Put files into the working directory and set environment variables, before any cell.

        If the time that is left does not suffice for that, the session has `ended`.
        """
        text = json.dumps(
            {
                "files": {name: base64.b64encode(data).decode() for name, data in files.items()},
                "environment": dict(environment),
            }
        )
        reply = self._request(
            "furnish", START_TIMEOUT_S, {"text": text, "timeout_s": START_TIMEOUT_S}
        )
        if self.ended == "cpu" or (self.ended and time.monotonic() >= self._stop_at):
            return
        if reply is None or reply.get("status") != "ok":
            self.close()
            raise SandboxUnavailable(
                f"the assignment's files could not be put into the sandbox; {self._driver.remedy}"
            )

    def run_cell(self, code: str, timeout_s: float, max_bytes: int = UNLIMITED) -> CellRun:
        """Run one cell; afterwards `ended` says whether the session is still alive.

        What it shows is kept up to the limit of one cell and `max_bytes`.
        """
        if self.ended:
            return CellRun("not run")
        with self._watchdog.cell():
            reply = self._request(
                "cell",
                timeout_s,
                {
                    "code": code,
                    "timeout_s": timeout_s,
                    "max_output_bytes": min(self.limits.cell_output_kib << 10, max_bytes),
                },
            )
        if reply is None or reply.get("status") not in STATUSES:
            self._end("died" if reply is None else "garbage")
            return CellRun("died")
        if reply["status"] in ENDS:
            self._end(reply["status"])
        outputs, count = reply.get("outputs"), reply.get("execution_count")
        return CellRun(
            status=SEEN_AS.get(reply["status"], reply["status"]),
            outputs=outputs if isinstance(outputs, list) else [],
            truncated=bool(reply.get("truncated")),
            execution_count=count if type(count) is int and 0 <= count < MAX_COUNT else None,
            error_name=one_line(str(reply.get("error_name", "")), 200),
            error_message=one_line(str(reply.get("error_message", "")), 500),
            size_bytes=self._driver.wire.last_bytes,
        )

    def ask(self, question: str, max_bytes: int = UNLIMITED) -> str | None:
        """The answer as JSON text, empty if it came too late; None once the session has ended.

        It has at most the size of one answer and `max_bytes`, or says that it is too large.
        """
        if self.ended:
            return None
        timeout_s = self.limits.question_timeout_s
        reply = self._request(
            "ask",
            timeout_s,
            {
                "question": question,
                "timeout_s": timeout_s,
                "max_bytes": min(self.limits.answer_kib << 10, max_bytes),
            },
        )
        if reply is None or reply.get("status") in ENDS:
            self._end("died" if reply is None else reply["status"])
            return None
        answer = reply.get("answer")
        return answer if reply.get("status") == "ok" and isinstance(answer, str) else ""

    def close(self) -> None:
        """End the process and everything it started; may be called twice."""
        self._watchdog.stop()
        self._driver.close()

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
            said = self._driver.last_words() or "it said nothing"
            self.close()
            raise SandboxUnavailable(f"the sandbox did not start ({said}); {self._driver.remedy}")
        self._started = True
        self._stop_at = time.monotonic() + self._wall_s
        self._watchdog.start()

    def _send(self, op: str, deadline: float, arguments: dict[str, Any]) -> str:
        self._expected = f"{self._nonce}-{next(self._ids)}"
        # Where the process is gone already, the reply that never comes tells.
        with contextlib.suppress(WireClosed, WireTimeout):
            message = {"id": self._expected, "op": op, "args": arguments}
            self._driver.wire.send(message, deadline=deadline)
        return self._expected

    def _receive(self, request_id: str, deadline: float) -> dict[str, Any] | None:
        try:
            reply = self._driver.wire.receive(deadline=deadline, max_bytes=MAX_FRAME_BYTES)
        except WireClosed:
            if not self._watchdog.reason and self._driver.has_lost_its_server():
                self._end("died")
                raise ServerLost("the fork server ended while this submission ran") from None
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
        self._driver.kill()
