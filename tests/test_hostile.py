"""The hostile suite in one grading: every case contained, nobody hurt, nothing left."""

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
    """What ``make hostile`` finds, by family."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "hostile" / "suite.py"), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return {one["name"]: one for one in json.loads(done.stdout)}


def test_there_are_enough_cases_of_every_family():
    counted = Counter(one.family for one in CASES)
    assert set(counted) == FAMILIES
    assert min(counted.values()) >= 5
    assert len(CASES) >= 80


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family}/{case.name}")
def test_the_attack_is_contained(families, case):
    verdict = next(
        one for one in families[case.family]["verdicts"] if one["case"]["name"] == case.name
    )
    assert verdict["leaked"] == []
    assert verdict["wrongly_scored"] == []


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_honest_students_between_attackers_have_their_points_and_their_files(families, family):
    assert families[family]["honest"] >= 5
    assert families[family]["hurt"] == []


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_no_process_mount_file_or_shared_memory_is_left(families, family):
    assert families[family]["leftovers"] == []


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_nothing_reached_a_listener_and_the_log_holds_no_canary(families, family):
    assert families[family]["reached_listeners"] == 0
    assert not families[family]["canary_in_log"]


def test_the_wall_of_an_ordinary_user_holds_as_well(tmp_path):
    course, canary = tmp_path / "course", "nbmark-canary-of-an-ordinary-user"
    attacks.make_course(course, canary, "target")
    wanted = ("inodes", "shared-memory", "stops-the-driver", "inherited-descriptors", "ptrace")
    chosen = [one for one in CASES if one.family == "reach" or one.name in wanted]
    with Listeners(Path(tmp_path), canary) as listeners:
        places = {"@COURSE@": str(course), "@CANARY@": canary[:14], **listeners.places}
        verdicts, _ = suite.hand_in(course, chosen, places)
        done = as_ordinary_user(course, "grade", "target", "--json", "--workers", "4")
        rows = {row["student"]: row for row in json.loads(done.stdout)["students"]}
        for verdict in verdicts:
            judge(verdict, course, rows, canary)
            assert verdict.contained, verdict
        assert listeners.hits == 0


def test_the_wall_of_a_process_of_its_own_holds_as_well():
    words = ["kernel-tricks", "process-tricks", "reach", "persistence", "resources"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "hostile" / "suite.py"), "--started", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_canary_in_the_students_process_would_be_found(tmp_path):
    case = next(one for one in CASES if one.name == "modules-of-the-checks")
    (code,) = case.answers.values()
    kept = "kept = ['@CANARY@' + 16 * 'a']\n"
    (family,) = suite.run(tmp_path, 2, [replace(case, answers={"number-answer": kept + code})])
    assert any("REACHED the canary" in one for one in family.verdicts[0].leaked)
