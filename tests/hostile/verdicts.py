"""Judge the attacks: what leaked, which points were not earned, and which honest work was hurt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attacks import Case

HONEST_WORDS = "An honest answer, number {}."
HONEST_POINTS = 5.0
SAFE_OUTPUT = {"text/plain", "text/latex", "text/html", "image/png", "image/jpeg"}


@dataclass
class Verdict:
    """The result of one case; each list names what went wrong."""

    case: Case
    students: list[str]
    leaked: list[str] = field(default_factory=list)
    wrongly_scored: list[str] = field(default_factory=list)

    @property
    def contained(self) -> bool:
        return not self.leaked and not self.wrongly_scored


@dataclass
class Family:
    """The result of one family, graded as one class.

    Parameters
    ----------
    honest, hurt
        How many honest students there were between the attackers, and which of them were hurt.
    leftovers
        Processes, files, mounts and shared memory that the grading left.
    reached_listeners
        How many connections and datagrams left a sandbox.
    canary_in_log
        Whether the grader printed the canary.
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
        return all(verdict.contained for verdict in self.verdicts) and not (
            self.hurt or self.leftovers or self.reached_listeners or self.canary_in_log
        )


def judge(verdict: Verdict, course: Path, rows: Mapping[str, Any], canary: str) -> None:
    """Compare the rows of a case with what its folder says, and search them for leaks."""
    case = verdict.case
    for student in verdict.students:
        row = rows.get(student)
        if row is None:
            verdict.wrongly_scored.append(f"{student!r}: no row")
            continue
        # The attack's own source says REACHED too, so that word is searched in outputs only.
        everything = outputs = json.dumps(row, ensure_ascii=False)
        for path in (course / "autograded" / student).rglob("*"):
            text = path.read_text(errors="replace") if path.is_file() else ""
            everything += text
            if path.suffix == ".ipynb":
                notebook = json.loads(text)
                outputs += json.dumps(
                    [cell.get("outputs") for cell in notebook["cells"]], ensure_ascii=False
                )
                verdict.leaked += _active(notebook)
        if canary in everything:
            verdict.leaked.append(f"{student}: the canary")
        if "REACHED" in outputs:
            verdict.leaked.append(f"{student}: {outputs[outputs.index('REACHED') :][:100]}")
        verdict.wrongly_scored += [
            f"{student}: {problem}" for problem in _misjudged(case, row, everything)
        ]


def _misjudged(case: Case, row: Mapping[str, Any], text: str) -> Iterator[str]:
    """Yield a line for each way in which outcome, points or sentences differ from the case."""
    if row["outcome"] != case.outcome:
        yield f"{row['outcome']} {row['trouble']}"
    if case.outcome == "graded":
        lowest = case.points if case.at_least is None else case.at_least
        if not lowest <= (row["points"] or 0.0) <= case.points:
            yield f"{row['points']} points, not {case.points:g}"
        looks = any(cell["needs_look"] for cell in row["cells"].values())
        if case.look and not looks:
            yield "does not say that it needs a look"
        # Where chance decides how it ends, the clock may.
        if looks and not case.look and case.at_least is None:
            yield "needs a look"
    plain = text.replace("\\u2026", "…")
    for sentence in case.says:
        if sentence not in plain:
            yield f"does not say '{sentence}'"


def _active(notebook: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each part of an autograded notebook that a browser might act on."""
    if set(notebook["metadata"]) != {"kernelspec", "language_info"}:
        yield f"metadata {sorted(notebook['metadata'])}"
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            kinds = set(output.get("data", {}))
            html = "".join(output.get("data", {}).get("text/html", ""))
            if kinds - SAFE_OUTPUT or "<script" in html or output.get("metadata"):
                yield f"an output of {sorted(kinds)}"


def is_unhurt(course: Path, rows: Mapping[str, Any], student: str) -> bool:
    """Return whether an honest student has exactly their points and their own notebook."""
    row = rows.get(student)
    if row is None or row["points"] != HONEST_POINTS:
        return False
    folder = course / "autograded" / student / "target"
    own = HONEST_WORDS.format(int(student[1:4]))
    files = sorted(path.name for path in folder.iterdir())
    expected = ["submission_secret.txt", "target.ipynb", "timestamp.txt"]
    return files == expected and own in (folder / "target.ipynb").read_text()
