"""A reusable process that runs hidden checks: trusted, but without a way to the gradebook.

pytest never runs inside nbgrader's or Jupyter's process (formgrader calls autograde in a running
event loop). `CheckProcess` is the coordinator's end; ``python -m nbmark.checkprocess`` the other.
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
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbmark.checkrequests import Request, grade_request, opened, refusal, submission_of
from nbmark.course import Assignment, Course
from nbmark.errors import InfrastructureError, NbmarkError, ServerLost
from nbmark.models import Check, CheckResult, Graded, Heard, Submission
from nbmark.sandboxes.supply import Supply
from nbmark.wire import Wire, WireClosed, WireGarbage, WireTimeout

if TYPE_CHECKING:
    from nbmark.checking import Checks

MAX_FRAME_BYTES = 256 << 20
# Beyond the submission's own limit: starting, collecting the checks, writing the reply.
MARGIN_S = 120.0
# What is imported stays: to look through it for garbage every 700 objects is a fifth of the start.
GC_THRESHOLD = 50_000
KEPT = ("PATH", "HOME", "LANG", "PYTHONPATH", "XDG_CACHE_HOME", "TMPDIR")


class CheckProcess:
    """The coordinator's end: starts the process when it is first needed, and must be closed.

    Parameters
    ----------
    new_worker
        Gives a worker of a fork server that the process shall use, None if it starts its own.
    tell
        Is told with each reply why submissions are not forked, if a server was tried in vain.
    """

    def __init__(
        self,
        assignment: Assignment,
        sandbox: str,
        new_worker: Callable[[], socket.socket | None] = lambda: None,
        tell: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._assignment = assignment
        self._sandbox = sandbox
        self._new_worker = new_worker
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: Wire | None = None
        self._lock = threading.Lock()
        self._killed = False

    def grade(self, submission: Submission) -> Graded:
        """As `checking.Checks.grade`, in the process."""
        return Graded.from_json(self.request(grade_request(submission)))

    def regrade(self, heard: Heard, seed: bytes) -> list[CheckResult]:
        """As `checking.Checks.regrade`, in the process."""
        request = {"op": "regrade", "heard": heard.to_json(), "seed": seed.hex()}
        return [CheckResult.from_json(one) for one in self.request(request)["results"]]

    def list_checks(self) -> list[Check]:
        """As `checking.Checks.declared`, in the process."""
        return [Check(**one) for one in self.request({"op": "list"})["checks"]]

    def start(self) -> None:
        """Start the process now, so that it is ready when the first request comes."""
        self._connected()

    def kill(self) -> None:
        """End the process for good, from any thread; whoever waits for its reply is told."""
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
        """The reply to a request of `checkrequests`.

        Raises
        ------
        InfrastructureError
            If the process fails or does not reply in time; also whatever was refused there, as
            the error that it was.
        """
        wire = self._connected()
        deadline = time.monotonic() + self._assignment.limits.submission_timeout_s + MARGIN_S
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
            self._tell(reply["not_forked_because"])
        return opened(reply)

    def _connected(self) -> Wire:
        if self._wire is None:
            with self._lock:
                if self._killed:
                    raise InfrastructureError("the check process was ended")
                self._process = self._launched()
            self._wire = Wire.to_process(self._process)
        return self._wire

    def _launched(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        environment |= {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            # One processor for each: threads of a numerical library would only wait for work.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
        }
        with contextlib.ExitStack() as stack:
            worker = self._new_worker()
            fds = [stack.enter_context(worker).fileno()] if worker is not None else []
            return subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [
                    sys.executable,
                    "-m",
                    "nbmark.checkprocess",
                    str(self._assignment.course.root),
                    self._assignment.name,
                    self._sandbox,
                    *map(str, fds),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                pass_fds=fds,
                start_new_session=True,
            )


def serve(root: str, name: str, sandbox: str, worker: str = "") -> None:
    """Answer requests on standard input until it closes or the coordinator is gone."""
    gc.set_threshold(GC_THRESHOLD)
    wire = Wire(os.dup(0), os.dup(1))
    os.dup2(2, 1)  # a print in a check goes to the log, not into a frame
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    assignment = Course(Path(root)).assignment(name)
    imports = assignment.imports if assignment.uses_fork_server else None
    control = socket.socket(fileno=int(worker)) if worker else None
    with contextlib.closing(Supply(sandbox, assignment.limits, imports, control)) as supply:
        supply.prepare()
        # Imported here: the sandbox gets ready while pytest is loaded.
        from nbmark.checking import with_checks

        def answer_all(checks: Checks, request: Request | None) -> None:
            while request is not None:
                try:
                    reply = {"ok": _answer(checks, supply, request)}
                except Exception as error:
                    reply = refusal(error)
                if request["op"] == "grade":  # the next one gets ready while this one is sent
                    supply.ask_ahead()
                _send(wire, reply, supply)
                request = _receive(wire)

        while (first := _receive(wire)) is not None:
            try:
                with_checks(assignment, lambda checks: answer_all(checks, first))
            except NbmarkError as error:  # the checks cannot be collected
                _send(wire, refusal(error), supply)


def _answer(checks: Checks, supply: Supply, request: Request) -> dict[str, Any]:
    if request["op"] == "list":
        return {"checks": [vars(one) for one in checks.declared()]}
    if request["op"] == "regrade":
        heard, seed = Heard.from_json(request["heard"]), bytes.fromhex(request["seed"])
        return {"results": [one.to_json() for one in checks.regrade(heard, seed)]}
    submission = submission_of(request)
    try:
        return checks.grade(submission, supply).to_json()
    except ServerLost:  # the supply starts another one
        return checks.grade(submission, supply).to_json()


def _receive(wire: Wire) -> Request | None:
    """The next request, None once the coordinator is gone."""
    try:
        return wire.receive(deadline=math.inf, max_bytes=MAX_FRAME_BYTES)
    except WireClosed:
        return None


def _send(wire: Wire, reply: dict[str, Any], supply: Supply) -> None:
    reply["not_forked_because"] = supply.not_forked_because
    with contextlib.suppress(WireClosed):
        wire.send(reply, deadline=math.inf)


def _end_with(parent: int) -> None:
    """A coordinator that was killed cannot say so: notice that it is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    serve(*sys.argv[1:])
