"""The workers of a cluster: waiting for the first, examining each, and following their number."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Collection, Mapping
from typing import Any

import distributed

from nbmark.errors import InfrastructureError, NbmarkError
from nbmark.untrusted.text import error_summary
from nbmark.versions import differences, versions
from nbmark.workers.dask.connection import Connection, is_private
from nbmark.workers.dask.sending import new_key
from nbmark.workers.dask.task import examine

POLL_S = 2.0
# A cell runs in a sandbox on each worker. That takes seconds, longer on a machine that starts many.
EXAMINE_S = 120.0
# A busy scheduler answers late. One that was stopped, or lost its network, never answers.
SILENCE_S = 60.0
# A worker that ended is often back within seconds, so a shorter gap is not worth a line.
QUIET_S = 5.0


class WorkerWatch:
    """Tracks the workers of a cluster, and examines each one that is new.

    Parameters
    ----------
    client
        Connected to the scheduler, for use in the running event loop.
    """

    def __init__(self, client: distributed.Client, sandbox: str, connection: Connection) -> None:
        self._client = client
        self._sandbox = sandbox
        self._address = connection.address
        self._patience = _Patience(connection)
        self._fit: set[str] = set()

    async def first_threads(self) -> int:
        """Wait for workers, examine them and the scheduler; return their number of threads.

        Raises
        ------
        InfrastructureError
            If no worker comes, one is unfit, or the scheduler takes no tasks.
        """
        while not (threads := await self._threads()):
            self._patience.check(threads)
            await asyncio.sleep(0.1)
        self._fit = await fit_workers(self._client, self._sandbox, threads)
        await self._try_a_task()
        return sum(threads.values())

    async def next_threads(self) -> int:
        """Wait two seconds, examine new workers, and return the number of threads.

        Raises
        ------
        InfrastructureError
            If the cluster cannot be used any more; the message says why.
        """
        await asyncio.sleep(POLL_S)
        try:
            threads = await self._threads()
            self._fit &= threads.keys()
            self._fit |= await fit_workers(self._client, self._sandbox, threads.keys() - self._fit)
        except OSError as error:  # TimeoutError is one, too
            raise InfrastructureError(f"the scheduler {self._address} is gone") from error
        except NbmarkError:
            raise
        except Exception as error:  # any other error would leave the grading waiting for ever
            raise InfrastructureError(f"the cluster failed: {error_summary(error)}") from error
        self._patience.check(threads)
        return sum(threads.values())

    async def _threads(self) -> dict[str, int]:
        """Return the number of threads of each worker."""
        async with asyncio.timeout(SILENCE_S):
            threads: dict[str, int] = await self._client.nthreads()
        return threads

    async def _try_a_task(self) -> None:
        """Check that the scheduler takes our tasks: it unpickles them, which needs our packages."""
        reply = asyncio.ensure_future(self._client.submit(versions, key=new_key()).result())
        try:
            # The task may wait long for a busy worker, or for ever if the workers have left.
            while not (await asyncio.wait({reply}, timeout=POLL_S))[0]:
                self._patience.check(await self._threads())
            await reply
        except NbmarkError:
            raise
        except Exception as error:
            raise InfrastructureError(
                f"the scheduler {self._address} refuses nbmark's tasks ({error_summary(error)}); "
                "install the packages of the workers there too"
            ) from error
        finally:
            reply.cancel()


async def fit_workers(
    client: distributed.Client, sandbox: str, workers: Collection[str]
) -> set[str]:
    """Return those of `workers` that can grade; one that has left meanwhile is skipped.

    Raises
    ------
    InfrastructureError
        If a worker is reached without encryption, gives other grades, or cannot run the sandbox.
    """
    _refuse_unencrypted(workers)  # before the first message to any of them
    # The usual case of a poll, which then costs the scheduler no message.
    if not workers:
        return set()
    try:
        async with asyncio.timeout(EXAMINE_S):
            replies: dict[str, Any] = await client.run(
                examine, sandbox, workers=list(workers), on_error="return"
            )
    except TimeoutError:
        raise InfrastructureError(
            f"some of the workers do not answer within {EXAMINE_S:g} s: {', '.join(workers)}"
        ) from None
    fit = set()
    for worker, reply in replies.items():
        if isinstance(reply, OSError):
            continue
        if isinstance(reply, Exception):
            problem = f"it cannot run nbmark ({error_summary(reply)})"
        else:
            problem = differences(reply["versions"]) or reply["problem"]
        if problem:
            raise InfrastructureError(f"the worker {worker} is unfit: {problem}")
        fit.add(worker)
    return fit


def _refuse_unencrypted(workers: Collection[str]) -> None:
    for worker in workers:
        if not is_private(worker):
            raise InfrastructureError(
                f"the worker {worker} is reached without TLS: anybody on the network could read "
                "the hidden checks; start it with --protocol tls and certificates"
            )


class _Patience:
    """Measures how long a cluster has been without any worker."""

    def __init__(self, connection: Connection) -> None:
        self._address = connection.address
        self._limit_s = connection.patience_s
        self._empty_since_s: float | None = None
        self._has_reported = False

    def check(self, threads: Mapping[str, int]) -> None:
        """Note whether there are workers; print a line if the wait is long, raise if too long."""
        if threads:
            self._empty_since_s, self._has_reported = None, False
            return
        now_s = time.monotonic()
        if self._empty_since_s is None:
            self._empty_since_s = now_s
        empty_s = now_s - self._empty_since_s
        if empty_s > QUIET_S and not self._has_reported:
            self._has_reported = True
            print(
                f"nbmark: no worker at {self._address}; waiting up to {self._limit_s:g} s",
                file=sys.stderr,
                flush=True,
            )
        if empty_s > self._limit_s:
            raise InfrastructureError(
                f"the cluster at {self._address} has had no worker for {self._limit_s:g} s; start "
                "workers, or wait longer with --patience"
            )
