"""Some check processes side by side, and the fork server whose children they use."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from nbmark.course.course import Assignment
from nbmark.errors import SandboxUnavailable
from nbmark.models import Check, CheckResult, Evidence, Graded, Submission
from nbmark.sandbox import walls
from nbmark.sandbox.forkserver import ForkServer
from nbmark.workers.process import CheckProcess
from nbmark.workers.requests import Request


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
        self._reported: set[str] = set()
        self._all = [
            CheckProcess(assignment, sandbox, self._new_worker, self._report_unforked)
            for _ in range(size)
        ]
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

    def regrade(self, evidence: Evidence, seed: bytes) -> list[CheckResult]:
        """As `CheckProcess.regrade`, in the next process that is free."""
        with self._next() as process:
            return process.regrade(evidence, seed)

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
        can_fork = self._assignment.uses_fork_server and walls.KINDS[self._sandbox].can_fork
        if self._server is None and can_fork:
            with contextlib.suppress(SandboxUnavailable):
                self._server = walls.start_fork_server(
                    self._sandbox, self._assignment.limits, self._assignment.imports
                )

    def _report_unforked(self, reason: str) -> None:
        """Say once, for all processes, why submissions are not forked."""
        with self._lock:
            is_new = reason not in self._reported
            self._reported.add(reason)
        if is_new:
            name = self._assignment.name
            print(
                f"nbmark: {name}: no fork server: {reason}; every submission starts a process of "
                f"its own ('use = false' under [fork_server] in graders/{name}/assignment.toml "
                "spares the attempt)",
                file=sys.stderr,
                flush=True,
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
