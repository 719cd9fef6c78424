"""Submissions on their way to the workers of a cluster: sent, and sent again after a crash."""

from __future__ import annotations

import uuid

import distributed
from distributed.scheduler import KilledWorker

from nbmark.errors import InfrastructureError
from nbmark.workers.dask.task import SEND_MATERIAL, grade_on_worker

# How often to send a submission that was queued on a worker that another submission crashed. Dask
# tries a task on several workers each time, so three rounds outlast any one bad submission.
ROUNDS = 3


class Sender:
    """Sends requests about one assignment, and counts the workers that have begun each one.

    Parameters
    ----------
    client
        Connected to the scheduler, for use in the running event loop.
    name
        The assignment's.
    """

    def __init__(self, client: distributed.Client, name: str, sandbox: str) -> None:
        self._client = client
        self._name = name
        self._sandbox = sandbox
        self._starts: dict[str, int] = {}  # task → how many workers have begun it
        self._topic = f"nbmark-{uuid.uuid4().hex}"
        client.subscribe_topic(self._topic, self._count_start)

    async def reply_to(self, request: bytes, key: str, material: bytes) -> bytes:
        """Return a worker's reply to a request.

        Raises
        ------
        InfrastructureError
            If the submission crashed its worker as often as the scheduler allows.
        """
        crash = WorkersCrashed(times=0, begun=0)
        for _ in range(ROUNDS):
            try:
                # A worker gets the material once and many submissions, so it travels only when a
                # worker asks for it.
                reply = await self._send(request, key, b"")
                if reply == SEND_MATERIAL:
                    reply = await self._send(request, key, material)
                return reply
            except WorkersCrashed as error:
                crash = error
            # If it had begun each time, it is to blame. Otherwise it was queued behind the culprit.
            if crash.begun >= crash.times:
                break
        raise InfrastructureError(_set_aside(crash))

    async def _send(self, request: bytes, key: str, material: bytes) -> bytes:
        task = new_key()
        self._starts[task] = 0
        arguments = (key, material, self._name, self._sandbox, request, self._topic, task)
        try:
            reply: bytes = await self._client.submit(grade_on_worker, *arguments, key=task)
        except KilledWorker as error:
            # Dask gives up after the allowed failures and one more.
            raise WorkersCrashed(error.allowed_failures + 1, self._starts[task]) from error
        finally:
            del self._starts[task]
        return reply

    def _count_start(self, event: tuple[float, str]) -> None:
        _, task = event
        # The event of a task that has been given up may arrive late.
        if task in self._starts:
            self._starts[task] += 1


class WorkersCrashed(Exception):
    """Workers with the same task crashed `times` times; `begun` of them had begun the task."""

    def __init__(self, times: int, begun: int) -> None:
        super().__init__(times, begun)
        self.times, self.begun = times, begun


def new_key() -> str:
    """Return a key for a task of Dask."""
    # Dask replaces an argument that equals a task's key by the result of that task. A submission
    # must not be able to ask for that, so the keys cannot be guessed.
    return f"nbmark-{uuid.uuid4().hex}"


def _set_aside(crash: WorkersCrashed) -> str:
    if crash.begun >= crash.times:
        times = "once" if crash.times == 1 else f"{crash.times} times"
        event = f"the submission ended its worker process {times} and was set aside"
    else:
        event = "the submission was set aside, because workers crashed each time it waited on them"
    return f"{event}; see the workers' logs; the next run tries it again"
