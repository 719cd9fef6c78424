"""Every attack of the hostile suite is contained, hurts no honest student and leaves nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import attacks
import pytest
import suite
from listeners import Listeners
from verdicts import judge

from conftest import ROOT
from helpers import as_ordinary_user

CASES = attacks.cases()
FAMILIES = {
    "display",
    "kernel-tricks",
    "lying-answers",
    "malformed",
    "patched-libraries",
    "persistence",
    "process-tricks",
    "reach",
    "resources",
}


@pytest.fixture(scope="module")
def families() -> dict[str, dict[str, Any]]:
    """Run the suite as ``make hostile`` does, and return its results by family."""
    completed = run_suite("--json")
    assert completed.stdout, completed.stderr
    return {family["name"]: family for family in json.loads(completed.stdout)}


def run_suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "tests" / "hostile" / "suite.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_family_has_enough_cases():
    sizes = Counter(case.family for case in CASES)
    assert set(sizes) == FAMILIES
    assert min(sizes.values()) >= 5
    assert len(CASES) >= 80


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family}/{case.name}")
def test_the_attack_is_contained(families, case):
    verdicts = families[case.family]["verdicts"]
    verdict = next(verdict for verdict in verdicts if verdict["case"]["name"] == case.name)
    assert verdict["leaked"] == []
    assert verdict["wrongly_scored"] == []


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_honest_students_between_attackers_keep_their_points_and_their_files(families, family):
    assert families[family]["honest"] >= 5
    assert families[family]["hurt"] == []


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_no_process_mount_file_or_shared_memory_is_left_behind(families, family):
    assert families[family]["leftovers"] == []


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_no_packet_reaches_a_listener_and_the_log_holds_no_canary(families, family):
    assert families[family]["reached_listeners"] == 0
    assert not families[family]["canary_in_log"]


def test_the_sandbox_of_an_ordinary_user_holds_too(tmp_path):
    course, canary = tmp_path / "course", "nbmark-canary-of-an-ordinary-user"
    attacks.make_course(course, canary, "target")
    names = ("inodes", "shared-memory", "stops-the-driver", "inherited-descriptors", "ptrace")
    chosen = [case for case in CASES if case.family == "reach" or case.name in names]
    with Listeners(Path(tmp_path), canary) as listeners:
        places = {"@COURSE@": str(course), "@CANARY@": canary[:14], **listeners.places}
        verdicts, _ = suite.submit_in_turns(course, chosen, places)
        completed = as_ordinary_user(course, "grade", "target", "--json", "--workers", "4")
        rows = {row["student"]: row for row in json.loads(completed.stdout)["students"]}
        for verdict in verdicts:
            judge(verdict, course, rows, canary)
            assert verdict.contained, verdict
        assert listeners.hits == 0


def test_a_sandbox_that_was_started_and_not_forked_holds_too():
    families = ["kernel-tricks", "process-tricks", "reach", "persistence", "resources"]
    completed = run_suite("--started", *families)
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_the_suite_would_find_a_canary_in_the_students_process(tmp_path):
    case = next(case for case in CASES if case.name == "modules-of-the-checks")
    (code,) = case.answers.values()
    planted = "planted = ['@CANARY@' + 16 * 'a']\n"
    (family,) = suite.run(tmp_path, 2, [replace(case, answers={"number-answer": planted + code})])
    assert any("REACHED the canary" in leak for leak in family.verdicts[0].leaked)
