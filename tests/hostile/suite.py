"""The hostile suite: a class of attackers, an honest student between any two of them, one grading.

``python tests/hostile/suite.py`` prints a table by family, ``--json`` what came of every case;
exit status 1 if anything leaked, was scored wrongly or was left over. Each case is a folder
``<family>/<case>/`` with a ``case.toml`` (see `Case`) and sometimes a ``make.py``, whose function
``make(folder, notebook)`` writes what no TOML file can say.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from listeners import Listeners
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BIN = Path(sys.executable).parent
STAMP = "2026-11-02 10:00:00.000000 UTC"
HONEST_WORDS = "An honest answer, number {}."
POSSIBLE = {"target": 5.0, "tensors": 3.0}
SAFE_OUTPUT = {"text/plain", "text/latex", "text/html", "image/png", "image/jpeg"}


@dataclass(frozen=True)
class Case:
    """One attack.

    Parameters
    ----------
    does, good
        What it does, and what a good grader must do.
    points, at_least
        The automatic points it must earn; where luck plays a part, between the two.
    base
        ``release`` (nothing solved) or ``reference`` (everything else right).
    answers
        Grade id of a cell → its new source.
    files
        Name → text of files that are handed in beside the notebook.
    copies
        How many students hand it in, one after the other.
    folder
        Another name of the student's folder than the suite would give.
    outcome
        ``graded``, or ``not graded`` where the submission must be refused by name.
    says
        Sentences that its feedback, or the refusal, must hold.
    look
        Whether the instructor must be told to look.
    cheat
        Whether it is after points, and so is tried on stock nbgrader too.
    """

    family: str
    name: str
    does: str
    good: str
    points: float = 0.0
    at_least: float | None = None
    assignment: str = "target"
    base: str = "release"
    answers: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    copies: int = 1
    folder: str = ""
    outcome: str = "graded"
    says: list[str] = field(default_factory=list)
    look: bool = False
    cheat: bool = False

    def submit(self, folder: Path, material: Path, places: Mapping[str, str]) -> None:
        """Write what the attacker hands in; `places` replaces the words in capitals."""
        folder.mkdir(parents=True)
        (folder / "timestamp.txt").write_text(STAMP)
        notebook = self.notebook(material, places)
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        maker = HERE / self.family / self.name / "make.py"
        if maker.exists():
            _module(maker).make(folder, notebook)
        else:
            (folder / f"{self.assignment}.ipynb").write_text(json.dumps(notebook))

    def notebook(self, material: Path, places: Mapping[str, str]) -> dict[str, Any]:
        """The release or the solved source with this case's cells in it."""
        kind = "release" if self.base == "release" else "source"
        path = material / kind / self.assignment / f"{self.assignment}.ipynb"
        notebook: dict[str, Any] = json.loads(path.read_text())
        for cell in notebook["cells"]:
            text = self.answers.get(cell["metadata"].get("nbgrader", {}).get("grade_id", ""))
            for word, place in places.items():
                text = text.replace(word, place) if text else text
            cell["source"] = text if text is not None else cell["source"]
        return notebook


@dataclass
class Verdict:
    """What came of one case: each list names what went wrong."""

    case: Case
    students: list[str]
    leaked: list[str] = field(default_factory=list)
    wrongly_scored: list[str] = field(default_factory=list)

    @property
    def contained(self) -> bool:
        return not self.leaked and not self.wrongly_scored


@dataclass
class Family:
    """What came of one family, graded as one class.

    Parameters
    ----------
    honest, hurt
        How many honest students sat between the attackers, and which of them were hurt.
    leftovers
        Processes, files, mounts and shared memory that were there afterwards.
    reached_listeners
        How many connections and datagrams came out.
    """

    name: str
    verdicts: list[Verdict]
    honest: int
    hurt: list[str]
    leftovers: list[str]
    reached_listeners: int
    canary_in_log: bool

    @property
    def clean(self) -> bool:
        return all(one.contained for one in self.verdicts) and not (
            self.hurt or self.leftovers or self.reached_listeners or self.canary_in_log
        )


def cases() -> list[Case]:
    """All cases, family by family."""
    return [
        Case(path.parent.parent.name, path.parent.name, **tomllib.loads(path.read_text()))
        for path in sorted(HERE.glob("*/*/case.toml"))
    ]


def run(folder: Path, workers: int, chosen: list[Case], settings: str = "") -> list[Family]:
    """Grade family by family in one course: attackers and honest students by turns.

    `settings` is added to each ``assignment.toml``.
    """
    canary = "nbmark-canary-" + secrets.token_hex(16)
    course, private = folder / "course", folder / "tmp"
    private.mkdir(parents=True)
    make_course(course, canary, *POSSIBLE, settings=settings)
    families = []
    with Listeners(folder, canary) as listeners:
        places = {"@COURSE@": str(course), "@CANARY@": canary[:14], **listeners.places}
        for name in dict.fromkeys(one.family for one in chosen):
            shutil.rmtree(course / "submitted", ignore_errors=True)
            own = [one for one in chosen if one.family == name]
            verdicts, honest = hand_in(course, own, places)
            before, hits = _traces(), listeners.hits
            rows, log = _grade(course, private, canary, workers)
            for verdict in verdicts:
                judge(verdict, course, rows, canary)
            families.append(Family(
                name, verdicts, len(honest),
                [one for one in honest if not _is_unhurt(course, rows.get(one), one)],
                _leftovers(course, private, before), listeners.hits - hits, canary in log,
            ))  # fmt: skip
    return families


def make_course(course: Path, canary: str, *assignments: str, settings: str = "") -> None:
    """The targets, released, tried on their own answers, with a canary where nobody may look."""
    shutil.copytree(HERE / "course", course)
    shutil.copy(ROOT / "source" / "keras" / "quiet_tensorflow.py", course / "source" / "tensors")
    shutil.copy(ROOT / "nbgrader_config.py", course)
    reference = course / "graders" / "reference.py"
    reference.write_text(reference.read_text() + f'\nCANARY = ["{canary}"]\n')
    for assignment in assignments:
        with (course / "graders" / assignment / "assignment.toml").open("a") as file:
            file.write(settings)
        for command in ("nbgrader generate_assignment", "nbmark verify"):
            program, *words = command.split()
            subprocess.run([BIN / program, *words, assignment], cwd=course, check=True,
                           capture_output=True)  # fmt: skip


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
            honest.append(f"s{number:03}-~honest".replace("~", "z"))
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
        [BIN / "nbmark", "grade", "--all", "--json", "--workers", str(workers)], cwd=course, text=True,
        capture_output=True, check=False, timeout=1200,
        env={**os.environ, "NBMARK_CANARY": canary, "TMPDIR": str(private)},
    )  # fmt: skip
    if "Traceback" in done.stderr or not done.stdout:
        sys.exit(f"the batch was stopped:\n{done.stderr}")
    rows = {
        row["student"]: row
        for one in json.loads(done.stdout)["assignments"]
        for row in one["students"]
    }
    return rows, done.stdout + done.stderr


def judge(verdict: Verdict, course: Path, rows: Mapping[str, Any], canary: str) -> None:
    """Compare what became of a case with what its folder says, and look for leaks."""
    case = verdict.case
    for student in verdict.students:
        row = rows.get(student.encode("unicode_escape").decode())
        if row is None:
            verdict.wrongly_scored.append(f"{student!r}: no row")
            continue
        text = said = json.dumps(row, ensure_ascii=False)
        for path in (course / "autograded" / student).rglob("*"):
            found = path.read_text(errors="replace") if path.is_file() else ""
            text += found
            if path.suffix == ".ipynb":
                cells = json.loads(found)["cells"]
                said += json.dumps([one.get("outputs") for one in cells], ensure_ascii=False)
                verdict.leaked += _active(json.loads(found))
        if canary in text:
            verdict.leaked.append(f"{student}: the canary")
        if "REACHED" in said:
            verdict.leaked.append(f"{student}: {said[said.index('REACHED') :][:100]}")
        verdict.wrongly_scored += [f"{student}: {one}" for one in _misjudged(case, row, text)]


def _misjudged(case: Case, row: Mapping[str, Any], text: str) -> Iterator[str]:
    if row["outcome"] != case.outcome:
        yield f"{row['outcome']} {row['trouble']}"
    if case.outcome == "graded":
        lowest = case.points if case.at_least is None else case.at_least
        if not lowest <= (row["points"] or 0.0) <= case.points:
            yield f"{row['points']} points, not {case.points:g}"
        if case.look != any(cell["needs_look"] for cell in row["cells"].values()):
            yield "needs a look" if not case.look else "does not say that it needs a look"
    plain = text.replace("\\u2026", "…")
    for sentence in case.says:
        if sentence not in plain:
            yield f"does not say '{sentence}'"


def _active(notebook: Mapping[str, Any]) -> Iterator[str]:
    """Whatever a browser might run in an autograded notebook that is not ours."""
    if set(notebook["metadata"]) != {"kernelspec", "language_info"}:
        yield f"metadata {sorted(notebook['metadata'])}"
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            kinds = set(output.get("data", {}))
            html = "".join(output.get("data", {}).get("text/html", ""))
            if kinds - SAFE_OUTPUT or "<script" in html or output.get("metadata"):
                yield f"an output of {sorted(kinds)}"


def _is_unhurt(course: Path, row: Mapping[str, Any] | None, student: str) -> bool:
    """Whether an honest student has exactly their points and their own notebook."""
    if row is None or row["points"] != POSSIBLE["target"]:
        return False
    folder = course / "autograded" / student / "target"
    own = HONEST_WORDS.format(int(student[1:4]))
    files = sorted(path.name for path in folder.iterdir())
    return files == ["target.ipynb", "timestamp.txt"] and own in (folder / files[0]).read_text()


def _traces() -> dict[str, set[str]]:
    """What a sandbox could leave on this machine."""
    shared = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {
        "mounts": {
            line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()
        },
        "shared memory": {*os.listdir("/dev/shm"), *(line.split()[1] for line in shared)},
    }


def _leftovers(course: Path, private: Path, before: Mapping[str, set[str]]) -> list[str]:
    """Processes, files, mounts and shared memory that are there after the grading."""
    deadline = time.monotonic() + 5
    while (alive := _alive()) and time.monotonic() < deadline:
        time.sleep(0.1)
    found = [f"process {one.pid} {one.name()}" for one in alive]
    found += [f"{kind} {one}" for kind, now in _traces().items() for one in now - before[kind]]
    found += [f"file {path}" for path in private.iterdir()]
    for student in sorted(os.listdir(course / "autograded")):
        for path in (course / "autograded" / student).rglob("*"):
            expected = path.suffix == ".ipynb" or path.name == "timestamp.txt"
            if path.name.startswith(".") or (path.is_file() and not expected):
                found.append(f"file {path}")
    return found


def _alive() -> list[psutil.Process]:
    """The processes below this one, once those that have ended are buried."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return psutil.Process().children(recursive=True)


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"make_{path.parent.name}", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def print_table(families: list[Family]) -> None:
    """Family by family: all but the first two columns should be zero."""
    table = Table("family", "cases", "contained", "leaked", "wrongly scored", "leftovers",
                  "honest hurt")  # fmt: skip
    rows = [
        [len(one.verdicts), sum(each.contained for each in one.verdicts),
         sum(bool(each.leaked) for each in one.verdicts) + one.reached_listeners
         + one.canary_in_log, sum(bool(each.wrongly_scored) for each in one.verdicts),
         len(one.leftovers), len(one.hurt)]
        for one in families
    ]  # fmt: skip
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
    parser.add_argument("--started", action="store_true",
                        help="without the fork server: a process of its own for each submission")  # fmt: skip
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args()
    # Whatever survives the grader becomes a child of this process, where it can be counted.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    chosen = [
        one for one in cases() if any(word in f"{one.family}/{one.name}" for word in options.words)
    ]  # fmt: skip
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
