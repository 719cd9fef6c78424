"""Evidence that is damaged, of another version or somebody else's is as good as none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nbmark.course.course import Course
from nbmark.models import SCHEMA, Check, CheckResult, Graded
from nbmark.records import evidence

DIGEST = "ab" * 32
GRADED = Graded("ben", "toy", DIGEST, {}, [CheckResult(Check("t", "a", 3, "a is right"), "passed")])


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """The file that holds Ben's complete grading."""
    evidence.mark_complete(Course(tmp_path), GRADED, "digest of the checks")
    return evidence.store(Course(tmp_path), GRADED)


def found(path: Path) -> Graded | None:
    return evidence.load(Course(path.parents[3]), "toy", "ben")


def test_what_was_stored_is_found_again(stored):
    assert found(stored) == GRADED


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"{}", b'{"schema": 2}', b"\xed"])
def test_what_is_no_evidence_counts_as_none(stored, data):
    stored.write_bytes(data)
    assert found(stored) is None


@pytest.mark.parametrize(
    "change",
    [
        {"schema": SCHEMA - 1},
        {"student": "ada"},
        {"digest": "cd" * 32},
        {"notebooks": []},
        {"results": [{}]},
        {"unheard": "of"},
    ],
)
def test_evidence_that_was_edited_or_is_of_another_version_counts_as_none(stored, change):
    stored.write_text(json.dumps({**json.loads(stored.read_text()), **change}))
    assert found(stored) is None


def test_evidence_that_is_gone_or_without_a_mark_counts_as_none(stored):
    mark = stored.with_name("graded.json")
    mark.rename(stored.with_name("moved"))
    assert found(stored) is None
    stored.with_name("moved").rename(mark)
    stored.unlink()
    assert found(stored) is None


def test_whoever_has_evidence_is_known_with_a_mark_or_without(stored):
    evidence.store(Course(stored.parents[3]), Graded("ada", "toy", DIGEST, {}, []))
    assert evidence.students(Course(stored.parents[3]), "toy") == ["ada", "ben"]
