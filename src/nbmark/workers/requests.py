"""What is asked of a check process, and what it replies, as JSON.

The same requests go to a process of this machine (`checkprocess`) and to a worker of a cluster.
"""

from __future__ import annotations

import base64
from typing import Any

from nbmark.errors import AssignmentError, InfrastructureError, NbmarkError, SandboxUnavailable
from nbmark.models import Submission
from nbmark.replay import NeverAsked

Request = dict[str, Any]
ERRORS = {
    one.__name__: one
    for one in (AssignmentError, InfrastructureError, NeverAsked, SandboxUnavailable)
}


def grade_request(submission: Submission) -> Request:
    """A submission as JSON, for `CheckProcess.request`."""
    notebooks = {
        name: None if data is None else base64.b64encode(data).decode()
        for name, data in submission.notebooks.items()
    }
    return {
        "op": "grade",
        "student": submission.student,
        "digest": submission.digest,
        "seed": submission.seed.hex(),
        "asks": submission.asks,
        "refused": dict(submission.refused),
        "notebooks": notebooks,
    }


def submission_of(request: Request) -> Submission:
    """The submission of such a request."""
    notebooks = {
        name: None if data is None else base64.b64decode(data)
        for name, data in request["notebooks"].items()
    }
    return Submission(
        request["student"],
        notebooks,
        request["digest"],
        bytes.fromhex(request["seed"]),
        request["refused"],
        request["asks"],
    )


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
