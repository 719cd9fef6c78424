"""Compare stock ``nbgrader autograde`` and ``nbmark grade`` on the same classes, in turns.

For each class it prints seconds and submissions a minute of both, the ratio of their medians, the
time that grading adds to the students' own compute, the stages of a submission, and the memory that
a second and a third worker add. Both commands are timed from start to exit, with the sandbox on and
two workers.

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from classes import ASSIGNMENTS, BIN, STOCK_CONFIG, command, make_course, our_config, submit_class
from rich.console import Console
from rich.table import Table

CLASSES = ["numpy", "pictures", "keras", "numpy-mixed", "keras-mixed"]
WORKERS = 2
SAMPLE_S = 0.1

Seconds = dict[str, float]  # by student


@dataclass
class Rounds:
    """The figures of one class, one entry a round.

    Parameters
    ----------
    stock, nbmark
        Seconds of the whole commands.
    per_submission
        A worker's seconds for one submission once the work is under way.
    rows
        The students' rows of the last grading in that round.
    own, alone
        Each student's own compute, beside another one and with the other processor idle.
    """

    stock: list[float] = field(default_factory=list)
    nbmark: list[float] = field(default_factory=list)
    per_submission: list[float] = field(default_factory=list)
    rows: list[list[dict[str, Any]]] = field(default_factory=list)
    own: list[Seconds] = field(default_factory=list)
    alone: list[Seconds] = field(default_factory=list)


def time_nbmark(folder: Path, *arguments: str) -> tuple[float, float]:
    """Return the seconds of the whole command, and a worker's seconds for one submission.

    The second figure covers every cost of a submission once the work is under way, including this
    command's own share of the processors. It runs from the moment when each worker has finished
    one submission to the end of the last.
    """
    began = time.monotonic()
    with subprocess.Popen(
        [BIN / "nbmark", *arguments],
        cwd=folder,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        # In a log, nbmark prints a line for each submission that it has finished.
        finished_at = [time.monotonic() for line in process.stderr or () if " s left: " in line]
    whole_s = time.monotonic() - began
    if process.returncode:
        sys.exit(f"bench: nbmark {' '.join(arguments)} failed; run it in {folder}")
    steady_s = finished_at[-1] - finished_at[WORKERS - 1]
    return whole_s, WORKERS * steady_s / (len(finished_at) - WORKERS)


def time_stock(folder: Path, *arguments: str) -> float:
    """Return the seconds of an nbgrader command, which fails if a notebook crashes."""
    began = time.monotonic()
    subprocess.run([BIN / "nbgrader", *arguments], cwd=folder, check=False, capture_output=True)
    return time.monotonic() - began


def own_seconds(course: Path, assignment: str, side_by_side: int) -> Seconds:
    """Return each student's own compute in a warm process (`own.py`), the mean of some at a time.

    A processor is slower while its neighbour works, as both do during a grading.
    """
    program = [sys.executable, str(Path(__file__).with_name("own.py")), str(course), assignment]
    processes = [
        subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(side_by_side)
    ]
    # The cells print too, so only the last line is the figures.
    figures = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
    return {
        student: statistics.mean(seconds[student] for seconds in figures) for student in figures[0]
    }


def recorded_rows(course: Path, assignment: str) -> list[dict[str, Any]]:
    """Return the record of each student's last grading."""
    rows: list[dict[str, Any]] = json.loads(
        command(course, "nbmark", "grade", assignment, "--json")
    )["students"]
    return rows


def peak_mib(course: Path, assignment: str, workers: int) -> float:
    """Return the peak of the proportional memory of all processes of a grading together."""
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
            try:
                tree = (root, *root.children(recursive=True))
            except psutil.Error:
                continue  # a process ended while the tree was read; the next sample is complete
            peak = max(peak, sum(_proportional_kib(member.pid) for member in tree))

    sampler = threading.Thread(target=sample)
    sampler.start()
    process.wait()
    over.set()
    sampler.join()
    return peak / 1024


def _proportional_kib(pid: int) -> int:
    """Return the proportional memory of one process, 0 if it has ended."""
    # Resident memory would count the pages that forks share once for each of them.
    try:
        with open(f"/proc/{pid}/smaps_rollup") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def measure(kind: str, rounds: int, students: int) -> dict[str, Any]:
    """Return all figures of one class."""
    name, _, mixed = kind.partition("-")
    assignment = ASSIGNMENTS[name]
    with tempfile.TemporaryDirectory(prefix="nbmark-bench-") as folder:
        ours, stock = Path(folder, "ours"), Path(folder, "stock")
        for course, config in ((ours, our_config()), (stock, STOCK_CONFIG)):
            course.mkdir()
            make_course(course, config, assignment)
            submit_class(course, assignment, students, mixed=bool(mixed))
        figures = Rounds()
        # The first grading also verifies the assignment, which happens once and is not compared.
        command(ours, "nbmark", *_grade(assignment))
        for _ in range(rounds):
            _run_round(figures, ours, stock, assignment, with_own=not mixed)
        # A crashing notebook has no own compute, so mixed classes show times of commands only.
        memory = [] if mixed else [peak_mib(ours, assignment, workers) for workers in (1, 2, 3)]
    return {
        "class": kind,
        "assignment": assignment,
        "students": students,
        "rounds": rounds,
        "seconds": {"stock": figures.stock, "nbmark": figures.nbmark},
        "memory_mib": memory,
        **_summary(figures),
    }


def _grade(assignment: str) -> tuple[str, ...]:
    return ("grade", assignment, "--force", "--workers", str(WORKERS))


def _run_round(
    figures: Rounds, ours: Path, stock: Path, assignment: str, *, with_own: bool
) -> None:
    """Run both commands once. In turns, so that a slow hour of the machine slows down both."""
    whole_s, per_submission_s = time_nbmark(ours, *_grade(assignment))
    figures.nbmark.append(whole_s)
    figures.per_submission.append(per_submission_s)
    figures.rows.append(recorded_rows(ours, assignment))
    if with_own:
        figures.own.append(own_seconds(ours, assignment, WORKERS))
        figures.alone.append(own_seconds(ours, assignment, 1))
    figures.stock.append(time_stock(stock, "autograde", assignment, "--force"))


def _summary(figures: Rounds) -> dict[str, Any]:
    """Return the medians of all rounds, and the shares of a submission's stages."""
    medians = {
        "stock": statistics.median(figures.stock),
        "nbmark": statistics.median(figures.nbmark),
    }
    every = [row for rows in figures.rows for row in rows]
    total_s = sum(row["seconds"] for row in every)
    stages = {
        stage: sum(row["spent_s"][stage] for row in every) / total_s
        for stage in ("start", "cells", "questions")
    }
    stages["checks"] = 1 - sum(stages.values())
    return {
        "median_s": medians,
        "ratio": medians["stock"] / medians["nbmark"],
        "points": sum(row["points"] or 0 for row in figures.rows[-1]),
        "own_s": _total(figures.own),
        "own_alone_s": _total(figures.alone),
        "added_s": _added(figures.rows, figures.own),
        "added_to_alone_s": _added(figures.rows, figures.alone),
        "added_all_told_s": _added_in_all(figures.per_submission, figures.own),
        "stages": stages,
    }


def _added(rounds: Sequence[Sequence[Mapping[str, Any]]], own: Sequence[Seconds]) -> float | None:
    """Return a check process's seconds for a submission beyond its own compute.

    The median of all submissions, None if own compute was not measured.
    """
    added = [
        row["seconds"] - seconds[row["student"]]
        for rows, seconds in zip(rounds, own, strict=False)
        for row in rows
    ]
    return statistics.median(added) if added else None


def _added_in_all(per_submission: Sequence[float], own: Sequence[Seconds]) -> float | None:
    """Return a worker's seconds for a submission beyond its own compute, the median of rounds."""
    added = [
        whole_s - statistics.mean(seconds.values())
        for whole_s, seconds in zip(per_submission, own, strict=False)
    ]
    return statistics.median(added) if added else None


def _total(rounds: Sequence[Seconds]) -> float:
    """Return the seconds of the whole class, the median of rounds; 0 if they were not measured."""
    return statistics.median(sum(seconds.values()) for seconds in rounds) if rounds else 0.0


def show(results: Sequence[dict[str, Any]]) -> None:
    """Print three tables."""
    for table in (_speed_table(results), _work_table(results), _memory_table(results)):
        Console(width=120).print(table)


def _speed_table(results: Sequence[dict[str, Any]]) -> Table:
    columns = ("class", "assignment", "students", "stock", "a minute", "nbmark", "a minute")
    table = Table(*columns, "ratio", title="Whole commands, medians")
    for result in results:
        stock, ours = result["median_s"]["stock"], result["median_s"]["nbmark"]
        students = result["students"]
        table.add_row(
            result["class"],
            result["assignment"],
            str(students),
            f"{stock:.1f} s",
            f"{60 * students / stock:.0f}",
            f"{ours:.2f} s",
            f"{60 * students / ours:.0f}",
            f"{result['ratio']:.1f}",
        )
    return table


def _work_table(results: Sequence[dict[str, Any]]) -> Table:
    columns = ("class", "own compute", "/ cores", "alone", "added", "to alone", "all told")
    table = Table(*columns, *results[0]["stages"], title="A submission")
    for result in results:
        own_s, alone_s = result["own_s"], result["own_alone_s"]
        added = (result["added_s"], result["added_to_alone_s"], result["added_all_told_s"])
        table.add_row(
            result["class"],
            f"{own_s:.2f} s" if own_s else "–",
            f"{own_s / WORKERS:.2f} s" if own_s else "–",
            f"{alone_s:.2f} s" if alone_s else "–",
            *("–" if seconds is None else f"{seconds:.3f} s" for seconds in added),
            *(f"{100 * share:.0f} %" for share in result["stages"].values()),
        )
    return table


def _memory_table(results: Sequence[dict[str, Any]]) -> Table:
    columns = ("class", "one worker", "the second adds", "the third adds")
    table = Table(*columns, title="Proportional memory of all processes, peak")
    for result in results:
        if result["memory_mib"]:
            first, second, third = result["memory_mib"]
            sizes = (first, second - first, third - second)
            table.add_row(result["class"], *(f"{mib:.0f} MiB" for mib in sizes))
    return table


def main() -> None:
    """Measure the classes on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("classes", nargs="*", default=CLASSES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--students", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    # Both commands draw tables, and their width must not depend on the terminal.
    os.environ["COLUMNS"] = "120"
    results = []
    for kind in options.classes:
        results.append(measure(kind, options.rounds, options.students))
        print(f"{kind}: {results[-1]['ratio']:.1f}", file=sys.stderr)
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        show(results)


if __name__ == "__main__":
    main()
