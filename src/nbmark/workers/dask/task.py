"""What runs on the workers of a Dask cluster: bytes come in, bytes go out."""

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
from nbmark.versions import versions
from nbmark.workers.dask.material import ELSEWHERE, MaterialCache, MaterialMissing
from nbmark.workers.requests import error_reply

MISSING = b""
CACHE = MaterialCache()  # the material of this worker's process
atexit.register(CACHE.close)


def grade_there(
    key: str, data: bytes, name: str, sandbox: str, request: bytes, topic: str, task: str
) -> bytes:
    """Runs on a worker: the reply of a check process as JSON, `MISSING` for lack of material."""
    worker = distributed.get_worker()
    worker.log_event(topic, task)
    home = worker.local_directory
    try:
        with CACHE.checks(
            f"{key} {home}", data, name, sandbox, home, worker.state.nthreads
        ) as checks:
            reply: dict[str, Any] = {"ok": checks.request(json.loads(request))}
    except MaterialMissing:
        return MISSING
    except Exception as error:
        reply = error_reply(error)
        reply["message"] += f" (on the worker {worker.address})"
    return json.dumps(reply).encode()


async def examine(sandbox: str, dask_worker: distributed.Worker) -> dict[str, Any]:
    """Runs on a worker, which Dask puts in: its versions, and why nobody can be graded there."""
    home = Path(dask_worker.local_directory)
    return {"versions": versions(), "problem": await asyncio.to_thread(_problem, sandbox, home)}


def _problem(sandbox: str, home: Path) -> str:
    """Why no wall can be built, or does not hide the material; empty if all is well."""
    try:
        walls.refuse_exposed(sandbox, home, ELSEWHERE)
        _try_out(sandbox)
    except NbmarkError as error:
        return str(error)
    except Exception as error:  # a full disk, a home that cannot be written
        return f"{type(error).__name__}: {error}"
    return ""


@functools.cache  # what held once is not tried again for the next grading
def _try_out(sandbox: str) -> None:
    walls.try_out(sandbox)
