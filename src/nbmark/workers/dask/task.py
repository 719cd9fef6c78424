"""The functions that run on the workers of a Dask cluster: bytes come in, bytes go out."""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
from pathlib import Path
from typing import Any

import distributed

from nbmark.errors import NbmarkError
from nbmark.sandbox import walls
from nbmark.untrusted.text import error_summary
from nbmark.versions import versions
from nbmark.workers.dask.material import OTHER_FOLDER, MaterialCache, MaterialMissing
from nbmark.workers.requests import error_reply

SEND_MATERIAL = b""  # a reply that asks for the material; every other reply is JSON, never empty
CACHE = MaterialCache()  # of this worker's process
atexit.register(CACHE.close)


def grade_on_worker(
    key: str, data: bytes, name: str, sandbox: str, request: bytes, topic: str, task: str
) -> bytes:
    """Return the reply of a check process as JSON, or `SEND_MATERIAL` if this worker lacks it."""
    worker = distributed.get_worker()
    # Dask blames every task on a worker that crashes. This event shows which of them had begun.
    worker.log_event(topic, task)
    home = worker.local_directory
    try:
        # Several workers may run in one process, and the material lies in the folder of one.
        with CACHE.checks(
            f"{key} {home}", data, name, sandbox, home, worker.state.nthreads
        ) as checks:
            reply: dict[str, Any] = {"ok": checks.request(json.loads(request))}
    except MaterialMissing:
        return SEND_MATERIAL
    except Exception as error:
        # Errors travel as JSON as well. A pickled one could hold objects of a student's process.
        reply = error_reply(error)
        reply["message"] += f" (on the worker {worker.address})"
    return json.dumps(reply).encode()


async def examine(sandbox: str, dask_worker: distributed.Worker) -> dict[str, Any]:
    """Return the versions on this worker, and why it cannot grade; Dask passes `dask_worker`."""
    home = Path(dask_worker.local_directory)
    # In a thread, because a cell in a sandbox takes seconds and the worker must go on answering.
    return {"versions": versions(), "problem": await asyncio.to_thread(_problem, sandbox, home)}


def _problem(sandbox: str, home: Path) -> str:
    """Return why the sandbox does not run or does not hide the material; empty if it does both."""
    try:
        walls.refuse_exposed(sandbox, home, OTHER_FOLDER)
        _try_out(sandbox)
    except NbmarkError as error:
        return str(error)
    except Exception as error:  # a full disk, a folder that cannot be written
        return error_summary(error)
    return ""


@functools.cache  # a sandbox that has run once is not tried again for the next grading
def _try_out(sandbox: str) -> None:
    walls.try_out(sandbox)
