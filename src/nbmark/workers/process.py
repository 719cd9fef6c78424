"""A reusable process that runs hidden checks: trusted, but without access to the gradebook.

pytest never runs inside nbgrader's or Jupyter's process, because formgrader calls autograde in a
running event loop. `CheckProcess` is the coordinator's end, and ``python -m
nbmark.workers.process`` the other.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nbmark.course.course import Assignment, Course
from nbmark.errors import InfrastructureError, NbmarkError, ServerLost
from nbmark.models import Check, CheckResult, Evidence, Graded, Submission
from nbmark.sandbox.inside.clocks import longest_s
from nbmark.sandbox.supply import SessionSource
from nbmark.sandbox.wire import Wire, WireClosed, WireGarbage, WireTimeout
from nbmark.workers.requests import (
    Request,
    content_of,
    error_reply,
    evidence_in,
    grade_request,
    graded_in,
    regrade_request,
    results_in,
    submission_in,
)

if TYPE_CHECKING:
    from nbmark.checks.grade_one import Checks

MAX_FRAME_BYTES = 256 << 20
# Beyond the submission's own limits: starting, collecting the checks, writing the reply.
MARGIN_S = 600.0
# The checks of one submission compute for a second. One that computes for so long never ends.
CHECKS_CPU_S = 120.0
# Imported modules are never freed. At the default threshold of 700 objects, garbage collection
# takes a fifth of start-up.
GC_THRESHOLD = 50_000
INHERITED_VARIABLES = ("PATH", "HOME", "LANG", "PYTHONPATH", "XDG_CACHE_HOME", "TMPDIR")


class CheckProcess:
    """The coordinator's end: starts the process when it is first needed, and must be closed.

    Parameters
    ----------
    new_worker
        Returns the trusted end of a fork server's worker for the process, or None if the process
        should start a server of its own.
    report_unforked
        Called after a reply with the reason why submissions are not forked, if a fork server was
        tried and failed.
    """

    def __init__(
        self,
        assignment: Assignment,
        sandbox: str,
        new_worker: Callable[[], socket.socket | None] = lambda: None,
        report_unforked: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._assignment = assignment
        self._sandbox = sandbox
        self._new_worker = new_worker
        self._report_unforked = report_unforked
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: Wire | None = None
        self._lock = threading.Lock()
        self._killed = False

    def grade(self, submission: Submission) -> Graded:
        """Call `grade_one.Checks.grade` in the process."""
        return graded_in(self._reply_to(grade_request(submission)))

    def regrade(
        self, evidence: Evidence, seed: bytes, aliases: Sequence[str], classmates: Sequence[str]
    ) -> list[CheckResult]:
        """Call `grade_one.Checks.regrade` in the process."""
        return results_in(self._reply_to(regrade_request(evidence, seed, aliases, classmates)))

    def list_checks(self) -> list[Check]:
        """Call `grade_one.Checks.declared` in the process."""
        return msgspec.convert(self.request({"op": "list"})["checks"], list[Check])

    def start(self) -> None:
        """Start the process now, so that it is ready when the first request comes."""
        self._connect()

    def kill(self) -> None:
        """End the process for good, from any thread; a thread waiting for a reply gets an error."""
        with self._lock:
            self._killed = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """End the process, from the thread that uses it; the next request starts another."""
        if self._process is not None and self._wire is not None:
            self._process.kill()
            self._process.wait()
            self._wire.close()
        self._process = self._wire = None

    def request(self, request: Request) -> dict[str, Any]:
        """Return the content of the reply to a request of `requests`.

        Raises
        ------
        InfrastructureError
            If the process fails or does not reply in time. An error inside the process is raised
            here as it was there.
        """
        return content_of(self._reply_to(request))

    def _reply_to(self, request: Request) -> dict[str, Any]:
        wire, limits = self._connect(), self._assignment.limits
        longest = longest_s(limits.submission_timeout_s, limits.cpu_s)
        deadline = time.monotonic() + longest + MARGIN_S
        try:
            wire.send(request, deadline=deadline)
            reply = wire.receive(deadline=deadline, max_bytes=MAX_FRAME_BYTES)
        except (WireClosed, WireTimeout, WireGarbage) as error:
            self.close()
            raise InfrastructureError(
                f"the check process of '{self._assignment.name}' failed ({type(error).__name__}); "
                "a check may have ended its process or run without end"
            ) from error
        if reply["not_forked_because"]:
            self._report_unforked(reply["not_forked_because"])
        return reply

    def _connect(self) -> Wire:
        if self._wire is None:
            with self._lock:
                if self._killed:
                    raise InfrastructureError("the check process was ended")
                self._process = self._launch()
            self._wire = Wire.to_process(self._process)
        return self._wire

    def _launch(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
        environment |= {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            # Each check process has one processor, so more threads would only wait for it.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
        }
        course = str(self._assignment.course.root)
        program = [sys.executable, "-m", "nbmark.workers.process"]
        with contextlib.ExitStack() as stack:
            worker = self._new_worker()
            fds = [stack.enter_context(worker).fileno()] if worker is not None else []
            return subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [*program, course, self._assignment.name, self._sandbox, *map(str, fds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                pass_fds=fds,
                start_new_session=True,
            )


def serve(root: str, name: str, sandbox: str, worker: str = "") -> None:
    """Answer requests on standard input until it closes or the coordinator has ended."""
    gc.set_threshold(GC_THRESHOLD)
    wire = Wire(os.dup(0), os.dup(1))
    os.dup2(2, 1)  # a print in a check goes to the log, not into a frame
    end = _End(os.getppid())
    end.start()
    assignment = Course(Path(root)).assignment(name)
    imports = assignment.imports if assignment.uses_fork_server else None
    control = socket.socket(fileno=int(worker)) if worker else None
    with contextlib.closing(
        SessionSource(sandbox, assignment.limits, imports, control)
    ) as sessions:
        sessions.prepare()
        # Imported here: the sandbox gets ready while pytest is loaded.
        from nbmark.checks.grade_one import with_checks

        def answer_all(checks: Checks, request: Request | None) -> None:
            while request is not None:
                end.begin_request()
                try:
                    reply = {"ok": _answer(checks, sessions, request)}
                except Exception as error:
                    reply = error_reply(error)
                if request["op"] == "grade":
                    sessions.fork_ahead()  # the next child is forked while this reply is sent
                _send(wire, reply, sessions)
                request = _receive(wire)

        while (first := _receive(wire)) is not None:
            try:
                with_checks(assignment, lambda checks: answer_all(checks, first))
            except NbmarkError as error:  # the checks cannot be collected
                _send(wire, error_reply(error), sessions)


def _answer(checks: Checks, sessions: SessionSource, request: Request) -> Any:
    if request["op"] == "list":
        return {"checks": msgspec.to_builtins(checks.declared())}
    if request["op"] == "regrade":
        return {"results": msgspec.to_builtins(checks.regrade(*evidence_in(request)))}
    submission = submission_in(request)
    try:
        return msgspec.to_builtins(checks.grade(submission, sessions))
    except ServerLost:  # `sessions` starts another server
        return msgspec.to_builtins(checks.grade(submission, sessions))


def _receive(wire: Wire) -> Request | None:
    """Return the next request, or None once the coordinator has ended."""
    try:
        return wire.receive(deadline=math.inf, max_bytes=MAX_FRAME_BYTES)
    except WireClosed:
        return None


def _send(wire: Wire, reply: dict[str, Any], sessions: SessionSource) -> None:
    reply["not_forked_because"] = sessions.not_forked_because
    with contextlib.suppress(WireClosed):
        wire.send(reply, deadline=math.inf)


class _End(threading.Thread):
    """Ends this process when the coordinator has ended, or when a check computes without end.

    A coordinator that was killed cannot say so, and pytest does not stop a check.
    """

    def __init__(self, parent: int) -> None:
        super().__init__(daemon=True)
        self._parent = parent
        self.begin_request()

    def begin_request(self) -> None:
        self._cpu_at_begin_s = time.process_time()

    def run(self) -> None:
        while os.getppid() == self._parent:
            if time.process_time() - self._cpu_at_begin_s > CHECKS_CPU_S:
                break
            time.sleep(0.5)
        os._exit(1)


if __name__ == "__main__":
    serve(*sys.argv[1:])
