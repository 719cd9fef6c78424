"""What runs on the workers of a Dask cluster: bytes come in, bytes go out."""

from __future__ import annotations

import asyncio
import atexit
import json
from typing import Any

import distributed

from nbmark import sandboxes
from nbmark.checkprocess import refusal
from nbmark.errors import NbmarkError
from nbmark.limits import Limits
from nbmark.materials import NotHere, Shelf
from nbmark.versions import versions

MISSING = b""
SHELF = Shelf()  # the material of this worker's process
atexit.register(SHELF.close)


def grade_there(
    key: str, data: bytes, name: str, sandbox: str, request: bytes, topic: str, task: str
) -> bytes:
    """Runs on a worker: the reply of a check process as JSON, `MISSING` for lack of material."""
    worker = distributed.get_worker()
    worker.log_event(topic, task)
    home = worker.local_directory
    try:
        with SHELF.checks(
            f"{key} {home}", data, name, sandbox, home, worker.state.nthreads
        ) as checks:
            reply: dict[str, Any] = {"ok": checks.request(json.loads(request))}
    except NotHere:
        return MISSING
    except Exception as error:
        reply = refusal(error)
        reply["message"] += f" (on the worker {worker.address})"
    return json.dumps(reply).encode()


async def examine(sandbox: str) -> dict[str, Any]:
    """Runs on a worker: its versions, and why no wall can be built there, empty if one can."""
    return {"versions": versions(), "problem": await asyncio.to_thread(_wall_problem, sandbox)}


def _wall_problem(sandbox: str) -> str:
    try:
        sandboxes.open_session(sandbox, Limits()).close()
    except NbmarkError as error:
        return str(error)
    return ""
