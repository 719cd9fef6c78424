"""Evidence that is damaged, of another version or of another student is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nbmark.course.course import Course
from nbmark.errors import EvidenceUnusable
from nbmark.models import SCHEMA, Check, CheckResult, Graded
from nbmark.records import evidence

DIGEST = "ab" * 32
GRADED = Graded("ben", "toy", DIGEST, {}, [CheckResult(Check("t", "a", 3, "a is right"), "passed")])


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Store a complete grading of Ben, and return the file that holds it."""
    evidence.mark_complete(Course(tmp_path), GRADED, "digest of the checks")
    return evidence.store(Course(tmp_path), GRADED)


def load(path: Path) -> Graded:
    return evidence.load(Course(path.parents[3]), "toy", "ben")


def refusal(path: Path) -> str:
    """Return the message that refuses the evidence: one line that names the next step."""
    with pytest.raises(EvidenceUnusable) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "run: nbmark grade toy --student ben" in message
    return message


def test_loading_returns_what_was_stored(stored):
    assert load(stored) == GRADED


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"{}", b'{"schema": 2}', b"\xed"])
def test_a_file_that_is_not_evidence_is_reported_as_damaged(stored, data):
    stored.write_bytes(data)
    assert f"its evidence, evidence/toy/ben/{DIGEST}.json, is damaged (" in refusal(stored)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": SCHEMA - 1}, "is of version 1, and this nbmark reads version 2"),
        ({"student": "ada"}, "is damaged (it belongs to another submission)"),
        ({"digest": "cd" * 32}, "is damaged (it belongs to another submission)"),
        ({"notebooks": []}, "is damaged (Expected `object`, got `array` - at `$.notebooks`)"),
        ({"results": [{}]}, "required field `check` - at `$.results[0]`)"),
        ({"seconds": "2"}, "is damaged (Expected `float`, got `str` - at `$.seconds`)"),
        ({"unheard": "of"}, "contains unknown field `unheard`"),
    ],
)
def test_the_refusal_says_how_edited_or_outdated_evidence_differs(stored, change, reason):
    stored.write_text(json.dumps({**json.loads(stored.read_text()), **change}))
    assert reason in refusal(stored)


def test_the_refusal_says_whether_the_evidence_or_its_mark_is_missing(stored):
    mark = stored.with_name("graded.json")
    mark.rename(stored.with_name("moved"))
    assert "has no complete grading" in refusal(stored)
    stored.with_name("moved").rename(mark)
    stored.unlink()
    assert "is missing" in refusal(stored)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"digest": 7}', b'{"more": 1}'])
def test_a_mark_that_cannot_be_read_counts_as_missing(stored, data):
    stored.with_name("graded.json").write_bytes(data)
    assert evidence.completed(Course(stored.parents[3]), "toy", "ben") is None
    assert "has no complete grading" in refusal(stored)


def test_students_with_evidence_are_listed_with_or_without_a_mark(stored):
    evidence.store(Course(stored.parents[3]), Graded("ada", "toy", DIGEST, {}, []))
    assert evidence.students(Course(stored.parents[3]), "toy") == ["ada", "ben"]
