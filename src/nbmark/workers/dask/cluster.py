"""Grading on other machines, with Dask.

`Cluster` hands submissions to the workers of any Dask cluster and gets back what came of them:
bytes there, bytes back, no file system shared. The wall stands on the worker as it does here, and
this process stays the only one that writes. docs/scale.md tells how to start a cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import math
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from typing import Any

import distributed
from distributed.scheduler import KilledWorker

from nbmark.course.course import Assignment
from nbmark.errors import InfrastructureError, NbmarkError, WorkersLost
from nbmark.models import Graded, Submission
from nbmark.versions import differences, versions
from nbmark.workers.dask.connection import Connection, is_private
from nbmark.workers.dask.material import packed
from nbmark.workers.dask.task import MISSING, examine, grade_there
from nbmark.workers.requests import grade_request, graded_in

CONNECT_S = 10.0
EXAMINE_S = 120.0
WATCH_S = 2.0
QUIET_S = 5.0  # a worker that ended is soon started again
SILENCE_S = 60.0  # a busy scheduler answers late, a stopped one never
# How often a submission is sent again that was in line at workers when others ended them.
ROUNDS = 3
THE_REST = "what is written is complete, run it again for the rest"


class Cluster:
    """The workers of a Dask cluster, for `grading.Workers`; must be closed.

    Attributes
    ----------
    at_once
        How many submissions should be under way: two for each thread of the cluster, so that the
        next one waits beside the one at work. It follows the workers that come and go.
    """

    def __init__(self, assignment: Assignment, sandbox: str, connection: Connection) -> None:
        self.at_once = 2
        self._assignment = assignment
        self._sandbox = sandbox
        self._address = connection.address
        self._security = connection.security
        self._patience_s = connection.patience_s
        self._thread: threading.Thread | None = None
        self._session: asyncio.Task[None] | None = None
        self._begun = threading.Event()
        self._ready: Future[None] = Future()
        self._under_way: set[asyncio.Task[bytes]] = set()
        self._lost: WorkersLost | None = None
        self._topic = f"nbmark-{uuid.uuid4().hex}"
        self._alone_since_s = math.inf
        self._said_that_it_waits = False
        self._starts: dict[str, int] = {}  # task → how many workers have begun it

    def prepare(self) -> None:
        """Begin to connect, in the background."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="nbmark-cluster", daemon=True)
            self._thread.start()

    def start(self) -> None:
        """Connect, and see that the workers would give the grades that this machine gives.

        Raises
        ------
        InfrastructureError
            If nobody answers, there is no worker, or one is unfit; the message says which.
        """
        self.prepare()
        self._ready.result()

    @contextlib.contextmanager
    def running(self) -> Iterator[Callable[[Submission], Future[Graded]]]:
        """Gives what hands out a submission; an exception takes back what is under way."""
        self.start()
        data = packed(self._assignment)
        key = f"{hashlib.sha256(data).hexdigest()} {self._sandbox}"
        try:
            yield lambda submission: asyncio.run_coroutine_threadsafe(
                self._graded(submission, key, data), self._loop
            )
        finally:
            self._loop.call_soon_threadsafe(self._stop_all)

    def close(self) -> None:
        """Leave the cluster, which goes on without us."""
        if self._thread is None:
            return
        self._begun.wait()
        if self._session is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._session.cancel)
        self._thread.join(CONNECT_S)

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._connected())

    async def _connected(self) -> None:
        """The session with the cluster, from the first word to the last."""
        self._loop = asyncio.get_running_loop()
        self._session = asyncio.current_task()
        self._begun.set()
        _quiet()
        try:
            async with distributed.Client(
                self._address,
                security=self._security,
                timeout=CONNECT_S,
                asynchronous=True,
                set_as_default=False,
                name="nbmark",
            ) as self._client:
                known = await self._first_workers()
                self._client.subscribe_topic(self._topic, self._task_begun)
                self._ready.set_result(None)
                await self._watch(known)
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(_told(error, self._address))
            if not isinstance(error, Exception):
                raise

    async def _first_workers(self) -> set[str]:
        """Wait for workers, and see that they and the scheduler are fit."""
        while not (threads := await self._threads()):
            if self._is_out_of_patience(threads):
                raise InfrastructureError(self._no_worker())
            await asyncio.sleep(0.1)
        known = await self._examined(threads)
        await self._try_a_task()
        self.at_once = 2 * max(1, sum(threads.values()))
        return known

    async def _try_a_task(self) -> None:
        """See that the scheduler takes our tasks; the workers may be busy, or leave meanwhile."""
        reply = asyncio.ensure_future(self._client.submit(versions, key=_new_key()).result())
        try:
            while not (await asyncio.wait({reply}, timeout=WATCH_S))[0]:
                if self._is_out_of_patience(await self._threads()):
                    raise InfrastructureError(self._no_worker())
            await reply
        except NbmarkError:
            raise
        except Exception as error:
            raise InfrastructureError(
                f"the scheduler {self._address} refuses nbmark's tasks ({_gist(error)}); "
                "it needs the environment that the workers have"
            ) from error
        finally:
            reply.cancel()

    async def _threads(self) -> dict[str, int]:
        """Worker → how many threads it has."""
        async with asyncio.timeout(SILENCE_S):
            found: dict[str, int] = await self._client.nthreads()
        return found

    async def _watch(self, known: set[str]) -> None:
        """Follow the workers that come and go; end the batch when nobody is left, or one unfit."""
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                threads = await self._threads()
                known &= threads.keys()
                known |= await self._examined(threads.keys() - known)
            except OSError:
                self._give_up(f"the scheduler {self._address} is gone")
            except NbmarkError as error:
                self._give_up(str(error))
            except Exception as error:  # whatever it is, nobody may wait for ever
                self._give_up(f"the cluster failed: {_gist(error)}")
            if self._lost is not None:
                break
            self.at_once = 2 * max(1, sum(threads.values()))
            if self._is_out_of_patience(threads):
                self._give_up(self._no_worker())
        await self._loop.create_future()  # until the session is closed

    async def _examined(self, workers: Collection[str]) -> set[str]:
        """Those of `workers` that are fit; who has left meanwhile is passed over.

        Raises
        ------
        InfrastructureError
            If one would be reached without encryption, give other grades, or has no wall.
        """
        for one in workers:
            if not is_private(one):
                raise InfrastructureError(
                    f"the worker {one} is reached without TLS: whoever is on the way could read "
                    "the hidden checks; start it with --protocol tls and certificates"
                )
        if not workers:
            return set()
        try:
            async with asyncio.timeout(EXAMINE_S):
                found: dict[str, Any] = await self._client.run(
                    examine, self._sandbox, workers=list(workers), on_error="return"
                )
        except TimeoutError:
            raise InfrastructureError(
                f"some of the workers do not answer within {EXAMINE_S:g} s: {', '.join(workers)}"
            ) from None
        fit = set()
        for one, said in found.items():
            if isinstance(said, OSError):
                continue
            if isinstance(said, Exception):
                problem = f"it cannot run nbmark ({_gist(said)})"
            else:
                problem = differences(said["versions"]) or said["problem"]
            if problem:
                raise InfrastructureError(f"the worker {one} is unfit: {problem}")
            fit.add(one)
        return fit

    async def _graded(self, submission: Submission, key: str, data: bytes) -> Graded:
        """What a worker made of a submission."""
        if self._lost is not None:
            raise self._lost
        request = json.dumps(grade_request(submission)).encode()
        reply = asyncio.ensure_future(self._reply(request, key, data))
        self._under_way.add(reply)
        try:
            graded = graded_in(json.loads(await reply))
        except CancelledError:  # Dask's, not asyncio's: the scheduler has lost what it had
            raise self._give_up(f"the scheduler {self._address} is gone") from None
        except asyncio.CancelledError:
            if self._lost is not None:
                raise self._lost from None
            raise
        except NbmarkError:
            raise
        except Exception as error:
            raise InfrastructureError(f"the cluster failed: {_gist(error)}") from error
        finally:
            self._under_way.discard(reply)
        if different := differences(graded.versions):
            raise self._give_up(f"a worker that came later is unfit: {different}")
        return graded

    async def _reply(self, request: bytes, key: str, data: bytes) -> bytes:
        """A worker's reply. Few workers lack the material, so it goes along when one says so.

        Raises
        ------
        InfrastructureError
            If the submission ended its worker as often as the scheduler lets it.
        """
        for _ in range(ROUNDS):
            try:
                found = await self._sent(request, key, b"")
                return await self._sent(request, key, data) if found == MISSING else found
            except _Killed as killed:
                last = killed
            # It may have stood in line behind the one that ended the workers.
            if last.begun >= last.times:
                break
        blamed = f"the submission ended its worker process {last.times} time{'s'[: last.times > 1]}"
        if last.begun < last.times:
            blamed = "workers ended again and again while the submission waited there"
        raise InfrastructureError(
            f"{blamed} and was set aside; the logs of the workers tell more, and the next run "
            "tries it again"
        )

    async def _sent(self, request: bytes, key: str, data: bytes) -> bytes:
        task = _new_key()
        self._starts[task] = 0
        arguments = (key, data, self._assignment.name, self._sandbox, request, self._topic, task)
        try:
            reply: bytes = await self._client.submit(grade_there, *arguments, key=task)
        except KilledWorker as error:
            raise _Killed(error.allowed_failures + 1, self._starts[task]) from error
        finally:
            del self._starts[task]
        return reply

    def _task_begun(self, event: tuple[float, str]) -> None:
        if event[1] in self._starts:
            self._starts[event[1]] += 1

    def _is_out_of_patience(self, threads: Mapping[str, int]) -> bool:
        """Whether there has been no worker for too long; what takes a while is said once."""
        now_s = self._loop.time()
        if threads:
            self._alone_since_s, self._said_that_it_waits = math.inf, False
        elif self._alone_since_s == math.inf:
            self._alone_since_s = now_s
        alone_s = now_s - self._alone_since_s
        if alone_s > QUIET_S and not self._said_that_it_waits:
            self._said_that_it_waits = True
            print(
                f"nbmark: no worker at {self._address}; waiting up to {self._patience_s:g} s",
                file=sys.stderr,
                flush=True,
            )
        return alone_s > self._patience_s

    def _no_worker(self) -> str:
        return (
            f"the cluster at {self._address} has had no worker for {self._patience_s:g} s; start "
            "workers, or wait longer with --patience"
        )

    def _give_up(self, why: str) -> WorkersLost:
        """End what is under way; the first reason is the one that is told."""
        self._lost = self._lost or WorkersLost(f"{why}; {THE_REST}")
        self._stop_all()
        return self._lost

    def _stop_all(self) -> None:
        for reply in self._under_way:
            reply.cancel()


class _Killed(Exception):
    """Workers ended with the task `times` times; `begun` of them had begun it."""

    def __init__(self, times: int, begun: int) -> None:
        super().__init__(times, begun)
        self.times, self.begun = times, begun


def _told(error: BaseException, address: str) -> Exception:
    """Why there is no session, as one line."""
    if isinstance(error, NbmarkError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return InfrastructureError("the session with the cluster was ended")
    return InfrastructureError(
        f"no scheduler can be reached at {address} ({_gist(error)}); is it running, and do its "
        "port, its certificates and its version of Dask fit?"
    )


def _gist(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _new_key() -> str:
    # Dask takes an argument that equals the key of a task for that task: nobody can guess it.
    return f"nbmark-{uuid.uuid4().hex}"


def _quiet() -> None:
    """Dask's own log and warnings would bury the one line that matters."""
    for name in ["asyncio", *logging.root.manager.loggerDict]:
        if name.split(".")[0] in ("asyncio", "distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"distributed\b")
