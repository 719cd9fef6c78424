"""Grading on other machines, with Dask.

`Cluster` sends submissions to the workers of any Dask cluster and receives the results. Both travel
as bytes, and no file system is shared. Each worker runs the sandbox as this machine does, and this
process alone writes results. docs/scale.md explains how to start a cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future

import distributed

from nbmark.course.course import Assignment
from nbmark.errors import InfrastructureError, NbmarkError, WorkersLost
from nbmark.models import Graded, Submission
from nbmark.untrusted.text import error_summary
from nbmark.versions import differences
from nbmark.workers.dask.connection import Connection
from nbmark.workers.dask.material import packed
from nbmark.workers.dask.sending import Sender
from nbmark.workers.dask.watch import WorkerWatch
from nbmark.workers.requests import grade_request, graded_in

CONNECT_S = 10.0
THE_REST = "what is written is complete; run it again for the rest"


class Cluster:
    """The workers of a Dask cluster, as `workers.api.Workers`; must be closed.

    A thread of its own runs Dask's event loop. Methods without an underscore belong to the other
    threads.

    Attributes
    ----------
    max_under_way
        The number of submissions that should be under way: two for each thread of the cluster, so
        that the next one is there when a thread becomes free. It follows the workers that come and
        go.
    """

    def __init__(self, assignment: Assignment, sandbox: str, connection: Connection) -> None:
        self.max_under_way = 2
        self._assignment = assignment
        self._sandbox = sandbox
        self._connection = connection
        self._thread: threading.Thread | None = None
        self._stay: asyncio.Task[None] | None = None
        self._begun = threading.Event()
        self._ready: Future[None] = Future()
        self._under_way: set[asyncio.Task[bytes]] = set()
        self._lost: WorkersLost | None = None

    def prepare(self) -> None:
        """Begin to connect, in the background."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="nbmark-cluster", daemon=True)
            self._thread.start()

    def start(self) -> None:
        """Connect, and check that the workers would give the grades that this machine gives.

        Raises
        ------
        InfrastructureError
            If no scheduler answers, there is no worker, or one is unfit; the message says which.
        """
        self.prepare()
        self._ready.result()

    @contextlib.contextmanager
    def running(self) -> Iterator[Callable[[Submission], Future[Graded]]]:
        """Give the function that submits work; leaving the block cancels unfinished work."""
        self.start()
        material = packed(self._assignment)
        # The key names the sandbox too, because cached check processes use one kind of sandbox.
        key = f"{hashlib.sha256(material).hexdigest()} {self._sandbox}"
        try:
            yield lambda submission: asyncio.run_coroutine_threadsafe(
                self._grade(submission, key, material), self._loop
            )
        finally:
            self._loop.call_soon_threadsafe(self._cancel_all)

    def close(self) -> None:
        """Leave the cluster, which keeps running."""
        if self._thread is None:
            return
        # The thread may not have made its loop and its task yet.
        self._begun.wait()
        if self._stay is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._stay.cancel)
        self._thread.join(CONNECT_S)

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._stay_connected())

    async def _stay_connected(self) -> None:
        """Connect, then follow the workers until `close` cancels this task."""
        self._loop = asyncio.get_running_loop()
        self._stay = asyncio.current_task()
        self._begun.set()
        _silence_dask()
        try:
            async with distributed.Client(
                self._connection.address,
                security=self._connection.security,
                timeout=CONNECT_S,
                asynchronous=True,
                set_as_default=False,
                name="nbmark",
            ) as client:
                watch = WorkerWatch(client, self._sandbox, self._connection)
                self._set_threads(await watch.first_threads())
                self._sender = Sender(client, self._assignment.name, self._sandbox)
                self._ready.set_result(None)
                await self._follow(watch)
        except BaseException as error:
            # Another thread waits in `start`, so every way to fail must end that wait.
            if not self._ready.done():
                self._ready.set_exception(_connection_error(error, self._connection.address))
            if not isinstance(error, Exception):
                raise

    async def _follow(self, watch: WorkerWatch) -> None:
        while self._lost is None:
            try:
                self._set_threads(await watch.next_threads())
            except InfrastructureError as error:
                self._give_up(str(error))
        # The loop must run until `close`, because other threads still call into it.
        await self._loop.create_future()

    def _set_threads(self, threads: int) -> None:
        # Never 0: with nothing under way, the grading would end as if all were done.
        self.max_under_way = 2 * max(1, threads)

    async def _grade(self, submission: Submission, key: str, material: bytes) -> Graded:
        """Return a submission as a worker has graded it."""
        if self._lost is not None:
            raise self._lost
        request = json.dumps(grade_request(submission)).encode()
        reply = asyncio.ensure_future(self._sender.reply_to(request, key, material))
        self._under_way.add(reply)
        try:
            graded = graded_in(json.loads(await reply))
        except CancelledError:  # Dask's, not asyncio's: the scheduler has lost its tasks
            address = self._connection.address
            raise self._give_up(f"the scheduler {address} is gone") from None
        except asyncio.CancelledError:
            # `_give_up` cancels all requests. Its reason explains more than the cancellation.
            if self._lost is not None:
                raise self._lost from None
            raise
        except NbmarkError:
            raise
        except Exception as error:
            raise InfrastructureError(f"the cluster failed: {error_summary(error)}") from error
        finally:
            self._under_way.discard(reply)
        # A new worker may take a task before the next poll examines it.
        if different := differences(graded.versions):
            raise self._give_up(f"a worker that came later is unfit: {different}")
        return graded

    def _give_up(self, reason: str) -> WorkersLost:
        """Cancel all requests under way; return the error, which has the first reason."""
        # Later reasons are mostly consequences of the first.
        self._lost = self._lost or WorkersLost(f"{reason}; {THE_REST}")
        self._cancel_all()
        return self._lost

    def _cancel_all(self) -> None:
        for reply in self._under_way:
            reply.cancel()


def _connection_error(error: BaseException, address: str) -> Exception:
    """Return why there is no connection, as an error with a message of one line."""
    if isinstance(error, NbmarkError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return InfrastructureError("the connection to the cluster was closed")
    return InfrastructureError(
        f"no scheduler can be reached at {address} ({error_summary(error)}); check that it runs, "
        "and that its port, certificates and version of Dask are right"
    )


def _silence_dask() -> None:
    """Turn off Dask's own log and warnings, which would bury the one line that matters."""
    for name in ["asyncio", *logging.root.manager.loggerDict]:
        if name.split(".")[0] in ("asyncio", "distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"distributed\b")
