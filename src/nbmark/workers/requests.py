"""Requests to a check process and its replies, as JSON.

The same requests go to a process of this machine (`process`) and to a worker of a cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from nbmark.errors import (
    AssignmentError,
    InfrastructureError,
    NbmarkError,
    NeverAsked,
    SandboxUnavailable,
)
from nbmark.models import CheckResult, Evidence, Graded, Submission

Request = dict[str, Any]
# The errors that keep their class on the way; any other arrives as its nearest base class here.
ERRORS = {
    error.__name__: error
    for error in (AssignmentError, InfrastructureError, NeverAsked, SandboxUnavailable)
}


def grade_request(submission: Submission) -> Request:
    """Return the request to grade a submission."""
    return {"op": "grade", "submission": msgspec.to_builtins(submission)}


def regrade_request(
    evidence: Evidence, seed: bytes, aliases: Sequence[str], classmates: Sequence[str]
) -> Request:
    """Return the request to judge recorded answers again, for `grade_one.Checks.regrade`."""
    return {
        "op": "regrade",
        "evidence": msgspec.to_builtins(evidence),
        "seed": seed.hex(),
        "aliases": list(aliases),
        "classmates": list(classmates),
    }


def submission_in(request: Request) -> Submission:
    """Return the submission in a request to grade."""
    return msgspec.convert(request["submission"], Submission)


def evidence_in(request: Request) -> tuple[Evidence, bytes, list[str], list[str]]:
    """Return the arguments of `grade_one.Checks.regrade` in a request to regrade."""
    evidence = msgspec.convert(request["evidence"], Evidence)
    seed = bytes.fromhex(request["seed"])
    return evidence, seed, request["aliases"], request["classmates"]


def graded_in(reply: dict[str, Any]) -> Graded:
    """Return the graded submission in a reply; an error in it is raised."""
    return msgspec.convert(content_of(reply), Graded)


def results_in(reply: dict[str, Any]) -> list[CheckResult]:
    """Return the check results in a reply; an error in it is raised."""
    return msgspec.convert(content_of(reply)["results"], list[CheckResult])


def error_reply(error: Exception) -> dict[str, Any]:
    """Return the reply that reports an error."""
    if not isinstance(error, NbmarkError):
        error = InfrastructureError(f"{type(error).__name__}: {error}")
    bases = (base.__name__ for base in type(error).__mro__)
    return {"error": next((name for name in bases if name in ERRORS), ""), "message": str(error)}


def content_of(reply: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a reply; an error at the other end is raised here as it was there."""
    if "error" in reply:
        raise ERRORS.get(reply["error"], InfrastructureError)(reply["message"])
    content: dict[str, Any] = reply["ok"]
    return content
