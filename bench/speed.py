"""Stock ``nbgrader autograde`` and ``nbmark grade`` on the same classes of twenty, by turns.

For each class it prints the seconds and submissions a minute of both, the ratio of their medians,
what grading adds to the students' own compute, where the time of a submission goes, and the memory
that a second and a third worker add. Both commands are timed whole, from start to exit, with the
sandbox on and two workers.

``python bench/speed.py [--rounds 5] [--students 20] [--json] [CLASS …]``
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from classes import ASSIGNMENTS, BIN, STOCK_CONFIG, command, hand_in, make_course, our_config
from rich.console import Console
from rich.table import Table

CLASSES = ["numpy", "pictures", "keras", "numpy-mixed", "keras-mixed"]
WORKERS = 2
SAMPLE_S = 0.1


def graded_in(folder: Path, *arguments: str) -> tuple[float, float]:
    """Seconds of ``nbmark``, whole; and of a worker for a submission once the work is under way.

    The second figure holds everything that somebody waits for, this command's own share of the
    processors too. It is the time from when each worker has ended one until all have ended.
    """
    began = time.monotonic()
    with subprocess.Popen(
        [BIN / "nbmark", *arguments],
        cwd=folder,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as running:
        told = [time.monotonic() for line in running.stderr or () if " s left: " in line]
    whole_s = time.monotonic() - began
    if running.returncode:
        sys.exit(f"bench: nbmark {' '.join(arguments)} failed; run it in {folder}")
    return whole_s, WORKERS * (told[-1] - told[WORKERS - 1]) / (len(told) - WORKERS)


def seconds_of(folder: Path, program: str, *arguments: str) -> float:
    """Wall time of a command that may fail: stock nbgrader does where a notebook crashes."""
    began = time.monotonic()
    subprocess.run([BIN / program, *arguments], cwd=folder, check=False, capture_output=True)
    return time.monotonic() - began


def own_seconds(course: Path, assignment: str, at_once: int) -> dict[str, float]:
    """Each student's own compute in a warm process (`own.py`), the mean of some side by side.

    A processor is slower while its neighbour works, as both do in a grading.
    """
    program = [sys.executable, str(Path(__file__).with_name("own.py")), str(course), assignment]
    running = [
        subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(at_once)
    ]
    found = [json.loads(one.communicate()[0].splitlines()[-1]) for one in running]
    return {student: statistics.mean(one[student] for one in found) for student in found[0]}


def graded_rows(course: Path, assignment: str) -> list[dict[str, Any]]:
    """What the last grading says of each student."""
    found = json.loads(command(course, "nbmark", "grade", assignment, "--json"))
    rows: list[dict[str, Any]] = found["students"]
    return rows


def peak_mib(course: Path, assignment: str, workers: int) -> float:
    """The largest proportional memory of all processes of a grading together."""
    process = subprocess.Popen(
        [BIN / "nbmark", "grade", assignment, "--force", "--workers", str(workers)],
        cwd=course,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    peak, over = 0, threading.Event()

    def sample() -> None:
        nonlocal peak
        root = psutil.Process(process.pid)
        while not over.wait(SAMPLE_S):
            total = 0
            try:
                for one in (root, *root.children(recursive=True)):
                    total += _proportional(one.pid)
            except psutil.Error:
                continue
            peak = max(peak, total)

    sampler = threading.Thread(target=sample)
    sampler.start()
    process.wait()
    over.set()
    sampler.join()
    return peak / 1024


def _proportional(pid: int) -> int:
    """Kibibytes of one process, 0 if it has ended."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def measure(kind: str, rounds: int, students: int) -> dict[str, Any]:
    """Everything about one class."""
    name, _, how = kind.partition("-")
    assignment = ASSIGNMENTS[name]
    with tempfile.TemporaryDirectory(prefix="nbmark-bench-") as folder:
        ours, stock = Path(folder, "ours"), Path(folder, "stock")
        for course, config in ((ours, our_config()), (stock, STOCK_CONFIG)):
            course.mkdir()
            make_course(course, config, assignment)
            hand_in(course, assignment, students, mixed=bool(how))
        grade = ("grade", assignment, "--force", "--workers", str(WORKERS))
        command(ours, "nbmark", *grade)  # tries the assignment on its own answers, once
        times: dict[str, list[float]] = {"stock": [], "nbmark": []}
        rows, own, alone, steady = [], [], [], []
        for _ in range(rounds):
            whole_s, each_s = graded_in(ours, *grade)
            times["nbmark"].append(whole_s)
            steady.append(each_s)
            rows.append(graded_rows(ours, assignment))
            if not how:
                own.append(own_seconds(ours, assignment, WORKERS))
                alone.append(own_seconds(ours, assignment, 1))
            times["stock"].append(seconds_of(stock, "nbgrader", "autograde", assignment, "--force"))
        memory = [] if how else [peak_mib(ours, assignment, one) for one in (1, 2, 3)]
    return {
        "class": kind,
        "assignment": assignment,
        "students": students,
        "rounds": rounds,
        "seconds": times,
        "memory_mib": memory,
        **_summary(times, rows, own, alone, steady),
    }


def _summary(
    times: Mapping[str, list[float]],
    rows: list[list[dict[str, Any]]],
    own: list[dict[str, float]],
    alone: list[dict[str, float]],
    steady: list[float],
) -> dict[str, Any]:
    """Of all rounds: medians, and where the time of a submission went."""
    middle = {what: statistics.median(found) for what, found in times.items()}
    every = [row for found in rows for row in found]
    stages = {
        what: sum(row["spent_s"][what] for row in every) / sum(row["seconds"] for row in every)
        for what in ("start", "cells", "questions")
    }
    stages["checks"] = 1 - sum(stages.values())
    return {
        "median_s": middle,
        "ratio": middle["stock"] / middle["nbmark"],
        "points": sum(row["points"] or 0 for row in rows[-1]),
        "own_s": _total(own),
        "own_alone_s": _total(alone),
        "added_s": _added(rows, own),
        "added_to_alone_s": _added(rows, alone),
        "added_all_told_s": _all_told(steady, own),
        "stages": stages,
    }


def _added(rows: list[list[dict[str, Any]]], own: list[dict[str, float]]) -> float | None:
    """Seconds of a submission beyond its own compute, the median of all; None if not measured."""
    added = [
        row["seconds"] - mine[row["student"]]
        for found, mine in zip(rows, own, strict=False)
        for row in found
    ]
    return statistics.median(added) if added else None


def _all_told(steady: list[float], own: list[dict[str, float]]) -> float | None:
    """What a worker spends on a submission beyond its own compute, the median of the rounds."""
    added = [
        each_s - statistics.mean(mine.values()) for each_s, mine in zip(steady, own, strict=False)
    ]
    return statistics.median(added) if added else None


def _total(rounds: list[dict[str, float]]) -> float:
    """Seconds of the whole class, the median of the rounds; 0 if it was not measured."""
    return statistics.median(sum(one.values()) for one in rounds) if rounds else 0.0


def show(found: list[dict[str, Any]]) -> None:
    """Three tables."""
    speed = Table(
        "class",
        "assignment",
        "students",
        "stock",
        "a minute",
        "nbmark",
        "a minute",
        "ratio",
        title="Whole commands, medians",
    )
    work = Table(
        "class",
        "own compute",
        "/ cores",
        "alone",
        "added",
        "to alone",
        "all told",
        *(one for one in found[0]["stages"]),
        title="A submission",
    )
    memory = Table(
        "class",
        "one worker",
        "the second adds",
        "the third adds",
        title="Proportional memory of all processes, peak",
    )
    for one in found:
        stock, ours = one["median_s"]["stock"], one["median_s"]["nbmark"]
        students = one["students"]
        speed.add_row(
            one["class"],
            one["assignment"],
            str(students),
            f"{stock:.1f} s",
            f"{60 * students / stock:.0f}",
            f"{ours:.2f} s",
            f"{60 * students / ours:.0f}",
            f"{one['ratio']:.1f}",
        )
        work.add_row(
            one["class"],
            f"{one['own_s']:.2f} s" if one["own_s"] else "–",
            f"{one['own_s'] / WORKERS:.2f} s" if one["own_s"] else "–",
            f"{one['own_alone_s']:.2f} s" if one["own_alone_s"] else "–",
            *(
                "–" if added is None else f"{added:.3f} s"
                for added in (one["added_s"], one["added_to_alone_s"], one["added_all_told_s"])
            ),
            *(f"{100 * share:.0f} %" for share in one["stages"].values()),
        )
        if one["memory_mib"]:
            first, second, third = one["memory_mib"]
            memory.add_row(
                one["class"],
                f"{first:.0f} MiB",
                f"{second - first:.0f} MiB",
                f"{third - second:.0f} MiB",
            )
    for table in (speed, work, memory):
        Console(width=120).print(table)


def main() -> None:
    """Measure the classes that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("classes", nargs="*", default=CLASSES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--students", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ["COLUMNS"] = "120"
    found = []
    for kind in options.classes:
        found.append(measure(kind, options.rounds, options.students))
        print(f"{kind}: {found[-1]['ratio']:.1f}", file=sys.stderr)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)


if __name__ == "__main__":
    main()
