"""The hostile suite: a class of attackers, an honest student between any two of them, one grading.

``python tests/hostile/suite.py`` prints a table by family, ``--json`` what came of every case;
exit status 1 if anything leaked, was scored wrongly or was left over. Each case is a folder
``<family>/<case>/`` with a ``case.toml`` (see `attacks.Case`) and sometimes a ``make.py``, whose function
``make(folder, notebook)`` writes what no TOML file can say.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from attacks import BIN, Case, cases, make_course
from leftovers import leftovers, traces
from listeners import Listeners
from rich.console import Console
from rich.table import Table
from verdicts import HONEST_WORDS, Family, Verdict, is_unhurt, judge


def run(folder: Path, workers: int, chosen: list[Case], settings: str = "") -> list[Family]:
    """Grade family by family in one course: attackers and honest students by turns.

    `settings` is added to each ``assignment.toml``.
    """
    canary = "nbmark-canary-" + secrets.token_hex(16)
    course, private = folder / "course", folder / "tmp"
    private.mkdir(parents=True)
    make_course(course, canary, *{"target", *(one.assignment for one in chosen)}, settings=settings)
    families = []
    with Listeners(folder, canary) as listeners:
        places = {"@COURSE@": str(course), "@CANARY@": canary[:14], **listeners.places}
        for name in dict.fromkeys(one.family for one in chosen):
            shutil.rmtree(course / "submitted", ignore_errors=True)
            own = [one for one in chosen if one.family == name]
            verdicts, honest = hand_in(course, own, places)
            before, hits = traces(), listeners.hits
            rows, log = _grade(course, private, canary, workers)
            for verdict in verdicts:
                judge(verdict, course, rows, canary)
            families.append(
                Family(
                    name,
                    verdicts,
                    len(honest),
                    [one for one in honest if not is_unhurt(course, rows.get(one), one)],
                    leftovers(course, private, before),
                    listeners.hits - hits,
                    canary in log,
                )
            )
    return families


def hand_in(
    course: Path, chosen: list[Case], places: Mapping[str, str]
) -> tuple[list[Verdict], list[str]]:
    """Attackers and honest students by turns, in the order in which they will be graded."""
    verdicts, honest = [], []
    for number, case in enumerate(one for one in chosen for _ in range(one.copies)):
        student = case.folder or f"s{number:03}-{case.name}"
        case.submit(course / "submitted" / student / case.assignment, course, places)
        if not verdicts or verdicts[-1].case is not case:
            verdicts.append(Verdict(case, []))
        verdicts[-1].students.append(student)
        if case.assignment == "target":
            honest.append(f"s{number:03}-zhonest")
            words = {"words": HONEST_WORDS.format(number)}
            _honest(words).submit(course / "submitted" / honest[-1] / "target", course, places)
    return verdicts, honest


def _honest(answers: dict[str, str]) -> Case:
    return Case("honest", "honest", "", "", base="reference", answers=answers)


def _grade(
    course: Path, private: Path, canary: str, workers: int
) -> tuple[dict[str, dict[str, Any]], str]:
    """Row by student, and everything that the grader said."""
    done = subprocess.run(
        [BIN / "nbmark", "grade", "--all", "--json", "--workers", str(workers)],
        cwd=course,
        text=True,
        capture_output=True,
        check=False,
        timeout=1200,
        env={**os.environ, "NBMARK_CANARY": canary, "TMPDIR": str(private)},
    )
    if "Traceback" in done.stderr or not done.stdout:
        sys.exit(f"the batch was stopped:\n{done.stderr}")
    rows = {
        row["student"]: row
        for one in json.loads(done.stdout)["assignments"]
        for row in one["students"]
    }
    return rows, done.stdout + done.stderr


def print_table(families: list[Family]) -> None:
    """Family by family: all but the first two columns should be zero."""
    table = Table(
        "family", "cases", "contained", "leaked", "wrongly scored", "leftovers", "honest hurt"
    )
    rows = [
        [
            len(one.verdicts),
            sum(each.contained for each in one.verdicts),
            sum(bool(each.leaked) for each in one.verdicts)
            + one.reached_listeners
            + one.canary_in_log,
            sum(bool(each.wrongly_scored) for each in one.verdicts),
            len(one.leftovers),
            len(one.hurt),
        ]
        for one in families
    ]
    for family, row in zip(families, rows, strict=True):
        table.add_row(family.name, *map(str, row))
    table.add_row("all", *(str(sum(column)) for column in zip(*rows, strict=True)))
    Console(width=100).print(table)
    print(f"{sum(one.honest for one in families)} honest students sat between them")
    for family in families:
        for each in family.verdicts:
            for trouble in (*each.leaked, *each.wrongly_scored):
                print(f"{family.name}/{each.case.name}: {trouble}")
        for trouble in (*family.leftovers, *family.hurt):
            print(f"{family.name}: {trouble}")


def main() -> None:
    """Run the suite, or the cases whose names hold a word."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("words", nargs="*", default=[""])
    parser.add_argument(
        "--started",
        action="store_true",
        help="without the fork server: a process of its own for each submission",
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args()
    # Whatever survives the grader becomes a child of this process, where it can be counted.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    chosen = [
        one for one in cases() if any(word in f"{one.family}/{one.name}" for word in options.words)
    ]
    with tempfile.TemporaryDirectory(prefix="nbmark-hostile-") as folder:
        settings = "\n[fork_server]\nuse = false\n" if options.started else ""
        families = run(Path(folder), options.workers, chosen, settings)
    if options.json:
        print(json.dumps([asdict(one) for one in families]))
    else:
        print_table(families)
    sys.exit(0 if all(one.clean for one in families) else 1)


if __name__ == "__main__":
    main()
