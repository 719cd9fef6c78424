"""A reusable process that runs hidden checks: trusted, but without a way to the gradebook.

pytest never runs inside nbgrader's or Jupyter's process (formgrader calls autograde in a running
event loop). `CheckProcess` is the coordinator's end; ``python -m nbmark.checkprocess`` the other.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import math
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbmark import sandboxes
from nbmark.course import Assignment, Course
from nbmark.errors import AssignmentError, InfrastructureError, NbmarkError, SandboxUnavailable
from nbmark.models import Check, CheckResult, Graded, Heard, Submission
from nbmark.replay import NeverAsked
from nbmark.sandboxes.forkserver import ForkServer
from nbmark.sandboxes.supply import Supply
from nbmark.wire import Wire, WireClosed, WireGarbage, WireTimeout

if TYPE_CHECKING:
    from nbmark.checking import Checks

MAX_FRAME_BYTES = 1 << 30
# Beyond the submission's own limit: starting, collecting the checks, writing the reply.
MARGIN_S = 120.0
# What is imported stays: to look through it for garbage every 700 objects is a fifth of the start.
GC_THRESHOLD = 50_000
KEPT = ("PATH", "HOME", "LANG", "PYTHONPATH", "XDG_CACHE_HOME", "TMPDIR")
ERRORS = {
    one.__name__: one
    for one in (AssignmentError, InfrastructureError, NeverAsked, SandboxUnavailable)
}
Request = dict[str, Any]


class CheckProcess:
    """The coordinator's end: starts the process when it is first needed, and must be closed.

    Parameters
    ----------
    new_worker
        Gives a worker of a fork server that the process shall use, None if it starts its own.
    """

    def __init__(
        self, assignment: Assignment, sandbox: str,
        new_worker: Callable[[], socket.socket | None] = lambda: None,
    ) -> None:  # fmt: skip
        self._assignment = assignment
        self._sandbox = sandbox
        self._new_worker = new_worker
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
        """The reply to a request that is JSON already."""
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
            "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
        }  # fmt: skip
        with contextlib.ExitStack() as stack:
            worker = self._new_worker()
            fds = [stack.enter_context(worker).fileno()] if worker is not None else []
            return subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-m", "nbmark.checkprocess", str(self._assignment.course.root),
                 self._assignment.name, self._sandbox, *map(str, fds)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, pass_fds=fds,
                start_new_session=True,
            )  # fmt: skip


class CheckPool:
    """Some check processes that threads share; modelled on a pool of connections.

    Attributes
    ----------
    at_once
        How many submissions should be under way to keep all of them busy.
    """

    def __init__(self, assignment: Assignment, sandbox: str, size: int) -> None:
        self.at_once = 2 * size  # the next one waits beside the one at work
        self._assignment = assignment
        self._sandbox = sandbox
        self._lock = threading.Lock()
        self._server: ForkServer | None = None
        self._all = [CheckProcess(assignment, sandbox, self._new_worker) for _ in range(size)]
        self._free: queue.SimpleQueue[CheckProcess] = queue.SimpleQueue()
        for process in self._all:
            self._free.put(process)

    @contextlib.contextmanager
    def running(self) -> Iterator[Callable[[Submission], Future[Graded]]]:
        """Gives what hands out a submission to grade, to the next process that is free."""
        with self.threads() as threads:
            yield lambda submission: threads.submit(self.grade, submission)

    @contextlib.contextmanager
    def threads(self) -> Iterator[ThreadPoolExecutor]:
        """As many threads as processes; an exception ends both at once, whatever is under way."""
        with ThreadPoolExecutor(len(self._all)) as threads:
            try:
                yield threads
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                for process in self._all:
                    process.kill()
                raise

    def close(self) -> None:
        """End all processes when no thread uses them."""
        for process in self._all:
            process.close()
        if self._server is not None:
            self._server.close()

    def prepare(self) -> None:
        """Start the fork server: its imports take longest, and need a processor to themselves."""
        with self._lock:
            self._start_server()

    def start(self) -> None:
        """Start all processes now, so that they are ready when there is work for them."""
        for process in self._all:
            process.start()

    def request(self, request: Request) -> dict[str, Any]:
        """As `CheckProcess.request`, in the next process that is free."""
        with self._next() as process:
            return process.request(request)

    def grade(self, submission: Submission) -> Graded:
        """As `CheckProcess.grade`, in the next process that is free."""
        with self._next() as process:
            return process.grade(submission)

    def regrade(self, heard: Heard, seed: bytes) -> list[CheckResult]:
        """As `CheckProcess.regrade`, in the next process that is free."""
        with self._next() as process:
            return process.regrade(heard, seed)

    def list_checks(self) -> list[Check]:
        """As `CheckProcess.list_checks`, in the next process that is free."""
        with self._next() as process:
            return process.list_checks()

    def _new_worker(self) -> socket.socket | None:
        """Of one server for all, so that what it imports is in memory once; None without one."""
        with self._lock:
            self._start_server()
            return self._server.new_worker() if self._server is not None else None

    def _start_server(self) -> None:
        """Unless it runs, or there can be none: whoever needs it is told then."""
        can_fork = self._assignment.uses_fork_server and sandboxes.can_fork(self._sandbox)
        if self._server is None and can_fork:
            with contextlib.suppress(SandboxUnavailable):
                self._server = sandboxes.start_fork_server(
                    self._assignment.limits, self._assignment.imports
                )

    @contextlib.contextmanager
    def _next(self) -> Iterator[CheckProcess]:
        process = self._free.get()
        try:
            yield process
        finally:
            self._free.put(process)


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


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
                _send(wire, reply)
                request = _receive(wire)

        while (first := _receive(wire)) is not None:
            try:
                with_checks(assignment, lambda checks: answer_all(checks, first))
            except NbmarkError as error:  # the checks cannot be collected
                _send(wire, refusal(error))


def grade_request(submission: Submission) -> Request:
    """A submission as JSON, for `CheckProcess.request`."""
    notebooks = {
        name: None if data is None else base64.b64encode(data).decode()
        for name, data in submission.notebooks.items()
    }
    return {
        "op": "grade", "student": submission.student, "digest": submission.digest,
        "seed": submission.seed.hex(), "asks": submission.asks,
        "refused": dict(submission.refused), "notebooks": notebooks,
    }  # fmt: skip


def refusal(error: Exception) -> dict[str, Any]:
    """A reply that says what went wrong, as JSON."""
    if not isinstance(error, NbmarkError):
        error = InfrastructureError(f"{type(error).__name__}: {error}")
    kind = next((k.__name__ for k in type(error).__mro__ if k.__name__ in ERRORS), "")
    return {"error": kind, "message": str(error)}


def opened(reply: dict[str, Any]) -> dict[str, Any]:
    """What a reply holds; what went wrong at the other end is raised here, as it was there."""
    if "error" in reply:
        raise ERRORS.get(reply["error"], InfrastructureError)(reply["message"])
    found: dict[str, Any] = reply["ok"]
    return found


def _answer(checks: Checks, supply: Supply, request: Request) -> dict[str, Any]:
    if request["op"] == "list":
        return {"checks": [vars(one) for one in checks.declared()]}
    seed = bytes.fromhex(request["seed"])
    if request["op"] == "regrade":
        results = checks.regrade(Heard.from_json(request["heard"]), seed)
        return {"results": [one.to_json() for one in results]}
    notebooks = {
        name: None if data is None else base64.b64decode(data)
        for name, data in request["notebooks"].items()
    }
    submission = Submission(
        request["student"], notebooks, request["digest"], seed, request["refused"], request["asks"]
    )  # fmt: skip
    return checks.grade(submission, supply).to_json()


def _receive(wire: Wire) -> Request | None:
    """The next request, None once the coordinator is gone."""
    try:
        return wire.receive(deadline=math.inf, max_bytes=MAX_FRAME_BYTES)
    except WireClosed:
        return None


def _send(wire: Wire, reply: dict[str, Any]) -> None:
    with contextlib.suppress(WireClosed):
        wire.send(reply, deadline=math.inf)


def _end_with(parent: int) -> None:
    """A coordinator that was killed cannot say so: notice that it is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    serve(*sys.argv[1:])
