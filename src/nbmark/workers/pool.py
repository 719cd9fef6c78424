"""Several check processes side by side, and the fork server whose children they use."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
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
    """Check processes that threads share, as they would share a pool of connections.

    Attributes
    ----------
    max_under_way
        The number of submissions that should be under way to keep all processes busy.
    """

    def __init__(self, assignment: Assignment, sandbox: str, size: int) -> None:
        # Twice the size: the next submission is read already when a process becomes free.
        self.max_under_way = 2 * size
        self._assignment = assignment
        self._sandbox = sandbox
        self._lock = threading.Lock()
        self._server: ForkServer | None = None
        self._reported: set[str] = set()
        self._processes = [
            CheckProcess(assignment, sandbox, self._new_worker, self._report_unforked)
            for _ in range(size)
        ]
        self._free: queue.SimpleQueue[CheckProcess] = queue.SimpleQueue()
        for process in self._processes:
            self._free.put(process)

    @contextlib.contextmanager
    def running(self) -> Iterator[Callable[[Submission], Future[Graded]]]:
        """Give the function that submits work; an exception in the block ends its work."""
        with self.threads() as threads:
            yield lambda submission: threads.submit(self.grade, submission)

    @contextlib.contextmanager
    def threads(self) -> Iterator[ThreadPoolExecutor]:
        """Give a thread for each process; an exception in the block ends both at once."""
        with ThreadPoolExecutor(len(self._processes)) as threads:
            try:
                yield threads
            except BaseException:
                # Leaving the executor waits for its threads, and each waits for its process. So a
                # Ctrl-C would last as long as a submission if the processes were not killed.
                threads.shutdown(wait=False, cancel_futures=True)
                for process in self._processes:
                    process.kill()
                raise

    def close(self) -> None:
        """End all processes, once no thread uses them."""
        for process in self._processes:
            process.close()
        if self._server is not None:
            self._server.close()

    def prepare(self) -> None:
        """Start the fork server: its imports take longest, and need a processor to themselves."""
        with self._lock:
            self._start_server()

    def start(self) -> None:
        """Start all processes now, so that they are ready when there is work for them."""
        for process in self._processes:
            process.start()

    def request(self, request: Request) -> dict[str, Any]:
        """Call `CheckProcess.request` of the next free process."""
        with self._free_process() as process:
            return process.request(request)

    def grade(self, submission: Submission) -> Graded:
        """Call `CheckProcess.grade` of the next free process."""
        with self._free_process() as process:
            return process.grade(submission)

    def regrade(
        self, evidence: Evidence, seed: bytes, aliases: Sequence[str], classmates: Sequence[str]
    ) -> list[CheckResult]:
        """Call `CheckProcess.regrade` of the next free process."""
        with self._free_process() as process:
            return process.regrade(evidence, seed, aliases, classmates)

    def list_checks(self) -> list[Check]:
        """Call `CheckProcess.list_checks` of the next free process."""
        with self._free_process() as process:
            return process.list_checks()

    def _new_worker(self) -> socket.socket | None:
        """Return the trusted end of a new worker of the fork server; None without a server.

        All processes share one server, so the libraries are in memory once.
        """
        with self._lock:
            self._start_server()
            return self._server.new_worker() if self._server is not None else None

    def _start_server(self) -> None:
        """Start the fork server, unless it runs or submissions cannot be forked."""
        can_fork = self._assignment.uses_fork_server and walls.KINDS[self._sandbox].can_fork
        if self._server is None and can_fork:
            # Each check process then tries a server of its own, and reports why that failed.
            with contextlib.suppress(SandboxUnavailable):
                self._server = walls.start_fork_server(
                    self._sandbox, self._assignment.limits, self._assignment.imports
                )

    def _report_unforked(self, reason: str) -> None:
        """Print why submissions are not forked, once for all processes."""
        with self._lock:
            is_new = reason not in self._reported
            self._reported.add(reason)
        if is_new:
            name = self._assignment.name
            print(
                f"nbmark: {name}: no fork server: {reason}; every submission starts a process of "
                "its own (to skip the attempt, set 'use = false' under [fork_server] in "
                f"graders/{name}/assignment.toml)",
                file=sys.stderr,
                flush=True,
            )

    @contextlib.contextmanager
    def _free_process(self) -> Iterator[CheckProcess]:
        process = self._free.get()
        try:
            yield process
        finally:
            self._free.put(process)


def cores() -> int:
    """Return how many processors this process may use."""
    # `os.cpu_count` counts all of the machine, even if a batch system grants only some.
    return len(os.sched_getaffinity(0))
