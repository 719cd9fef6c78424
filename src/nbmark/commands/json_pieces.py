"""Large JSON results in pieces, so that memory never holds them whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from nbmark.course.course import Assignment
from nbmark.errors import EvidenceUnusable
from nbmark.grading.shared import shared_sentences
from nbmark.models import Graded
from nbmark.records import evidence
from nbmark.records.feedback import diagnosis
from nbmark.records.row import Row


def grades(assignment: Assignment, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the object for ``nbmark grade --json``, with every check from the evidence."""
    students = ([json.dumps(_row(assignment, row))] for row in rows)
    shared = [each.as_json() for each in shared_sentences(rows)]
    fields = {"assignment": assignment.name, "shared_sentences": shared}
    return object_with_list(fields, "students", students)


def object_with_list(
    fields: Mapping[str, Any], list_name: str, values: Iterable[Iterable[str]]
) -> Iterator[str]:
    """Yield a JSON object with some fields and a list; each value of the list comes in pieces."""
    yield "{"
    for name, value in fields.items():
        yield f"{json.dumps(name)}: {json.dumps(value)}, "
    yield f"{json.dumps(list_name)}: ["
    for number, pieces in enumerate(values):
        yield ",\n" if number else "\n"
        yield from pieces
    yield "\n]}"


def _row(assignment: Assignment, row: Row) -> dict[str, Any]:
    graded = _evidence(assignment, row) if row.scores else None
    return {
        "student": row.student,
        "outcome": row.outcome,
        "points": row.earned if row.scores else None,
        "trouble": row.trouble,
        "notes": list(row.notes),
        "sandbox": graded.sandbox if graded else None,
        "seconds": round(graded.seconds, 3) if graded else None,
        "spent_s": {name: round(s, 4) for name, s in graded.spent_s.items()} if graded else {},
        "unreadable": graded.unreadable if graded else {},
        "notices": msgspec.to_builtins(graded.notices) if graded else {},
        "cells": msgspec.to_builtins(row.scores),
        "checks": [
            {
                "name": result.check.name,
                "cell": result.check.cell,
                "title": result.check.title,
                "outcome": result.outcome,
                "points": result.earned,
                "says": diagnosis(result),
                "own": result.own,
                "trace": result.trace,
            }
            for result in (graded.results if graded else [])
        ],
    }


def _evidence(assignment: Assignment, row: Row) -> Graded | None:
    try:
        return evidence.load(assignment.course, assignment.name, row.student)
    except EvidenceUnusable:  # removed since the row was made, which still holds the points
        return None
