"""Small things that several tests use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from nbmark.checks.questions import Expr, canonical, tree_of
from nbmark.limits import Limits
from nbmark.notebooks import read_notebook, write_notebook
from nbmark.sandbox.session import Session

SOURCE = Path(__file__).resolve().parent.parent / "src"
STAMP = "2026-11-02 10:00:00.000000 UTC"
RIGHT = "a = 3.0\ndef f(x):\n    return 2 * x"
HALF = "a = 4\ndef f(x):\n    return 2 * x"
SMALL = Limits(memory_mib=600, disk_mib=32, processes=64, cell_timeout_s=5, question_timeout_s=2)


def dump(course: Path, assignment: str) -> list[dict[str, Any]]:
    """All that the gradebook holds on an assignment, without ids made at random, sorted."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        found = gradebook.assignment_submissions(assignment)
        return [
            {
                "student": one.student.id,
                "timestamp": str(one.timestamp),
                "seconds_late": one.total_seconds_late,
                "score": one.score,
                "notebooks": {note.name: _dump_notebook(note) for note in one.notebooks},
            }
            for one in sorted(found, key=lambda one: one.student.id)
        ]


def _dump_notebook(notebook: Any) -> dict[str, Any]:
    return {
        "late_penalty": notebook.late_submission_penalty,
        "flagged": notebook.flagged,
        "grades": {
            one.name: [one.auto_score, one.manual_score, one.extra_credit, one.needs_manual_grade]
            for one in sorted(notebook.grades, key=lambda one: one.name)
        },
        "comments": {
            one.name: [one.auto_comment, one.manual_comment]
            for one in sorted(notebook.comments, key=lambda one: one.name)
        },
    }


def hand_in_toy(course: Path, student: str, answer: str, written: str = "Because.") -> Path:
    """A submission of the toy assignment with this code."""
    cells = read_notebook((course / "release" / "toy" / "toy.ipynb").read_bytes())
    texts = {"a-answer": answer, "w": written}
    cells = [replace(cell, source=texts.get(cell.grade_id, cell.source)) for cell in cells]
    folder = course / "submitted" / student / "toy"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "toy.ipynb").write_bytes(write_notebook(cells, {}, {}))
    (folder / "timestamp.txt").write_text(STAMP)
    return folder


def as_ordinary_user(course: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``nbmark`` run by an ordinary user; root becomes one, in a private view of the folders."""
    python, source, folder = Path(sys.prefix), SOURCE, course
    command = ["env"]
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "12345:12345", str(course)], check=True)
        mounts = " && ".join(
            f"mkdir /mnt/{new} && mount --bind '{old}' /mnt/{new}"
            for new, old in {"python": python, "source": source, "course": course}.items()
        )
        script = f'mount -t tmpfs -o mode=755 t /mnt && {mounts} && cd /mnt/course && exec "$@"'
        command = [
            "unshare",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
            "setpriv",
            "--reuid=12345",
            "--regid=12345",
            "--clear-groups",
            "env",
        ]
        python, source, folder = Path("/mnt/python"), Path("/mnt/source"), Path("/mnt/course")
    return subprocess.run(
        [
            *command,
            f"HOME={folder}",
            f"PYTHONPATH={source}",
            "PYTHONDONTWRITEBYTECODE=1",
            f"{python}/bin/python",
            "-m",
            "nbmark.commands.cli",
            *arguments,
        ],
        cwd=course,
        text=True,
        capture_output=True,
        check=False,
    )


def said(session: Session, code: str, timeout_s: float = 10) -> str:
    """What a cell printed, or the name of its error."""
    done = session.run_cell(code, timeout_s)
    return "".join(one.get("text", "") for one in done.outputs).strip() or done.error_name


def ask(session: Session, question: Expr) -> Any:
    """The answer of the agent to a question, None if there was none."""
    return json.loads(session.ask(canonical(tree_of(question))) or "null")
