"""Sessions: a driver at work, with its requests and replies, deadlines and watchdog."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from nbmark.errors import SandboxUnavailable, ServerLost
from nbmark.limits import Limits
from nbmark.sandbox.drivers import Driver
from nbmark.sandbox.inside.clocks import GRACE_CPU_S, GRACE_IDLE_S, longest_s
from nbmark.sandbox.replies import Answer, CellRun
from nbmark.sandbox.watchdog import Watchdog
from nbmark.sandbox.wire import WireClosed, WireGarbage, WireTimeout
from nbmark.untrusted.text import one_line

# Starting takes a second of computing time, which may last long on a busy machine.
START_TIMEOUT_S = 300.0
# If the driver has not replied this long after it had to stop a request, it never will.
MARGIN_S = 60.0
MAX_FRAME_BYTES = 32 << 20
# A student may set the counter to anything; no notebook runs that many cells.
MAX_EXECUTION_COUNT = 1_000_000
UNLIMITED = MAX_FRAME_BYTES
FINAL_STATUSES = ("stuck", "died", "garbage")  # after these the kernel no longer runs
STATUSES = ("ok", "error", "timeout", *FINAL_STATUSES)
# To a student, a cell that resists the interrupt is simply one that took too long.
REPORTED_AS = {"stuck": "timeout", "garbage": "died"}


class Session:
    """A kernel in a sandbox, modelled on `subprocess.Popen`: it runs until it is closed.

    Attributes
    ----------
    ended
        None while it lives. Afterwards the reason why it ended: ``died``, ``memory``, ``files``,
        ``sockets``, ``cpu`` and ``clock`` (the submission used up its computing or idle time),
        ``cell cpu``, ``cell clock``, ``question cpu`` and ``question clock`` (one of them ignored
        the interrupt) or ``garbage`` (the process sent something that is not a frame).
    """

    def __init__(self, driver: Driver, limits: Limits) -> None:
        self.limits = limits
        self.ended: str | None = None
        self._ids = itertools.count()
        # Ids that cannot be guessed: code inside could otherwise reply to a request in advance.
        self._nonce = secrets.token_hex(8)
        self._driver = driver
        self._watchdog = Watchdog(driver.tree, limits, driver.own_folders)
        self._started = False
        # The request goes out now and the first operation waits for the reply, so the kernel starts
        # while pytest collects the checks.
        deadline = time.monotonic() + START_TIMEOUT_S
        self._send("start", deadline, {"limits": limits.of_each_process()})

    def allow(self, idle_s: float, cpu_s: float) -> None:
        """Limit the idle time and the CPU time of the whole session."""
        self._watchdog.allow(idle_s, cpu_s)

    @property
    def cpu_used_s(self) -> float:
        """CPU time of all its processes so far."""
        return self._watchdog.cpu_used_s

    @property
    def idle_used_s(self) -> float:
        """Idle time of its requests so far."""
        return self._watchdog.idle_used_s

    def furnish(self, files: Mapping[str, bytes], environment: Mapping[str, str]) -> None:
        """Put files into the working directory and set environment variables, before any cell.

        If the submission's time runs out meanwhile, the session has `ended`.

        Raises
        ------
        SandboxUnavailable
            If the sandbox failed.
        """
        contents = {name: base64.b64encode(data).decode() for name, data in files.items()}
        text = json.dumps({"files": contents, "environment": dict(environment)})
        reply = self._request("furnish", START_TIMEOUT_S, START_TIMEOUT_S, {"text": text})
        # Several notebooks share one budget. If the notebooks before left too little of it, the
        # sandbox is not to blame.
        if self.ended in ("cpu", "clock"):
            return
        if reply is None or reply.get("status") != "ok":
            self.close()
            raise SandboxUnavailable(
                "the assignment's files could not be written into the sandbox; "
                f"{self._driver.remedy}"
            )

    def run_cell(self, code: str, timeout_s: float, max_bytes: int = UNLIMITED) -> CellRun:
        """Run one cell; afterwards `ended` shows whether the session is still alive.

        It is stopped after the computing time of one cell, or `timeout_s` of idle time. Outputs
        are cut at the limit of one cell or at `max_bytes`, whichever is smaller.
        """
        if self.ended:
            return CellRun("not run")
        max_output_bytes = min(self.limits.cell_output_kib << 10, max_bytes)
        arguments = {"code": code, "max_output_bytes": max_output_bytes}
        reply = self._request("cell", self.limits.cell_cpu_s, timeout_s, arguments)
        if reply is None or reply.get("status") not in STATUSES:
            self._end("died" if reply is None else "garbage")
            return CellRun("died")
        limit = _limit_in(reply)
        if reply["status"] in FINAL_STATUSES:
            self._end(f"cell {limit}" if reply["status"] == "stuck" else reply["status"])
        # The driver runs in the sandbox too, so each field may be of any type and size.
        outputs, count = reply.get("outputs"), reply.get("execution_count")
        is_count = type(count) is int and 0 <= count < MAX_EXECUTION_COUNT
        return CellRun(
            status=REPORTED_AS.get(reply["status"], reply["status"]),
            outputs=outputs if isinstance(outputs, list) else [],
            truncated=bool(reply.get("truncated")),
            execution_count=count if is_count else None,
            error_name=one_line(str(reply.get("error_name", "")), 200),
            error_message=one_line(str(reply.get("error_message", "")), 2000),
            size_bytes=self._driver.wire.last_bytes,
            limit=limit,
        )

    def ask(self, question: str, max_bytes: int = UNLIMITED) -> Answer:
        """Return the answer to a question; there is none once the session has ended.

        It is at most as long as the limit of one answer and `max_bytes` allow; a larger answer is
        replaced by one that says so.
        """
        if self.ended:
            return Answer("")
        limits = self.limits
        max_bytes = min(limits.answer_kib << 10, max_bytes)
        arguments = {"question": question, "max_bytes": max_bytes}
        cpu_s, idle_s = limits.question_cpu_s, limits.question_timeout_s
        reply = self._request("question", cpu_s, idle_s, arguments) or {"status": "died"}
        status, limit = reply.get("status"), _limit_in(reply)
        if status in FINAL_STATUSES:
            self._end(f"question {limit}" if status == "stuck" else status)
        text = reply.get("answer")
        return Answer(text if status == "ok" and isinstance(text, str) else "", limit)

    def close(self) -> None:
        """End the kernel and every process it started; may be called twice."""
        # The watchdog first: it must not measure a process id that the system may use again.
        self._watchdog.stop()
        self._driver.close()

    def _request(
        self, op: str, cpu_s: float, idle_s: float, arguments: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Return the driver's reply, or None if the session ended instead."""
        self._await_start()
        longest = longest_s(idle_s, cpu_s) + longest_s(GRACE_IDLE_S, GRACE_CPU_S)
        deadline = time.monotonic() + longest + MARGIN_S
        limits = {"cpu_limit_s": cpu_s, "idle_limit_s": idle_s}
        with self._watchdog.request(op, cpu_s):
            request_id = self._send(op, deadline, {**arguments, "limits": limits})
            return self._receive(request_id, deadline, f"{op} clock")

    def _await_start(self) -> None:
        if self._started:
            return
        deadline = time.monotonic() + START_TIMEOUT_S
        reply = self._receive(self._last_id, deadline, "start")
        if reply is None or reply.get("status") != "ok":
            line = self._driver.last_error_line() or "no error message"
            self.close()
            raise SandboxUnavailable(f"the sandbox did not start ({line}); {self._driver.remedy}")
        self._started = True
        self._watchdog.start()

    def _send(self, op: str, deadline: float, arguments: dict[str, Any]) -> str:
        """Send a request and return its id."""
        self._last_id = f"{self._nonce}-{next(self._ids)}"
        # If the process died, the missing reply shows it.
        with contextlib.suppress(WireClosed, WireTimeout):
            message = {"id": self._last_id, "op": op, "args": arguments}
            self._driver.wire.send(message, deadline=deadline)
        return self._last_id

    def _receive(self, request_id: str, deadline: float, late: str) -> dict[str, Any] | None:
        """Return the reply to a request, or end the session and return None.

        After the deadline the session ends for the reason `late`.
        """
        try:
            reply = self._driver.wire.receive(deadline=deadline, max_bytes=MAX_FRAME_BYTES)
        except WireClosed:
            # If the server took the driver with it, the student is not to blame, and the
            # submission runs again. A kill by the watchdog looks the same but has a reason.
            if not self._watchdog.reason and self._driver.has_lost_its_server():
                self._end("died")
                raise ServerLost("the fork server ended while this submission ran") from None
            self._end("died")
        except WireTimeout:
            self._end(late)
        except WireGarbage:
            self._end("garbage")
        else:
            if reply.get("id") == request_id:
                return reply
            self._end("garbage")
        return None

    def _end(self, reason: str) -> None:
        # The watchdog's reason is the cause; a closed wire or a missed deadline only follows it.
        self.ended = self.ended or self._watchdog.reason or reason
        self._driver.kill()


def _limit_in(reply: Mapping[str, Any]) -> str:
    """Return the limit at which the driver stopped a request, "" if it did not."""
    if reply.get("status") not in ("timeout", "stuck"):
        return ""
    return "clock" if reply.get("limit") == "clock" else "cpu"
