"""What came of the attacks: who leaked, who got points that they did not earn, who was hurt."""

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


def is_unhurt(course: Path, row: Mapping[str, Any] | None, student: str) -> bool:
    """Whether an honest student has exactly their points and their own notebook."""
    if row is None or row["points"] != HONEST_POINTS:
        return False
    folder = course / "autograded" / student / "target"
    own = HONEST_WORDS.format(int(student[1:4]))
    files = sorted(path.name for path in folder.iterdir())
    return files == ["target.ipynb", "timestamp.txt"] and own in (folder / files[0]).read_text()
