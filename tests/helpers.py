"""Helpers that several test files share: submissions, the gradebook's content, questions."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from nbmark.checks.questions import Expr, canonical, tree_of
from nbmark.limits import Limits
from nbmark.models import Submission
from nbmark.notebooks import Cell, read_notebook, write_notebook
from nbmark.sandbox.session import Session

SOURCE = Path(__file__).resolve().parent.parent / "src"
STAMP = "2026-11-02 10:00:00.000000 UTC"
RIGHT = "a = 3.0\ndef f(x):\n    return 2 * x"
HALF = "a = 4\ndef f(x):\n    return 2 * x"
SMALL = Limits(
    cell_cpu_s=5,
    question_cpu_s=2,
    cell_timeout_s=5,
    question_timeout_s=2,
    memory_mib=600,
    disk_mib=32,
    processes=64,
)


def dump_gradebook(course: Path, assignment: str) -> list[dict[str, Any]]:
    """Return the gradebook's rows of an assignment by student, without nbgrader's random ids."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        submissions = gradebook.assignment_submissions(assignment)
        return [
            {
                "student": submission.student.id,
                "timestamp": str(submission.timestamp),
                "seconds_late": submission.total_seconds_late,
                "score": submission.score,
                "notebooks": {
                    notebook.name: _dump_notebook(notebook) for notebook in submission.notebooks
                },
            }
            for submission in sorted(submissions, key=lambda submission: submission.student.id)
        ]


def _dump_notebook(notebook: Any) -> dict[str, Any]:
    return {
        "late_penalty": notebook.late_submission_penalty,
        "flagged": notebook.flagged,
        "grades": {
            grade.name: [
                grade.auto_score,
                grade.manual_score,
                grade.extra_credit,
                grade.needs_manual_grade,
            ]
            for grade in sorted(notebook.grades, key=lambda grade: grade.name)
        },
        "comments": {
            comment.name: [comment.auto_comment, comment.manual_comment]
            for comment in sorted(notebook.comments, key=lambda comment: comment.name)
        },
    }


def submit_toy(course: Path, student: str, answer: str, written: str = "Because.") -> Path:
    """Put a submission of the toy assignment with this code into ``submitted/``."""
    cells = read_notebook((course / "release" / "toy" / "toy.ipynb").read_bytes())
    texts = {"a-answer": answer, "w": written}
    cells = [replace(cell, source=texts.get(cell.grade_id, cell.source)) for cell in cells]
    folder = course / "submitted" / student / "toy"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "toy.ipynb").write_bytes(write_notebook(cells, {}, {}))
    (folder / "timestamp.txt").write_text(STAMP)
    return folder


def submission_of(cells: list[Cell], name: str) -> Submission:
    """Return a submission of one notebook with these cells."""
    data = write_notebook(cells, {}, {})
    digest = hashlib.sha256(data).hexdigest()
    return Submission("ada", {name: data}, digest, digest.encode())


def as_ordinary_user(course: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``nbmark`` as an ordinary user; root becomes one, in a private view of the folders."""
    python, source, folder = Path(sys.prefix), SOURCE, course
    command = ["env"]
    if os.geteuid() == 0:
        # The folders on the way to the course may be closed to other users. Bind mounts in a
        # mount namespace of its own make the course readable without changing any of them.
        subprocess.run(["chown", "-R", "12345:12345", str(course)], check=True)
        mounts = " && ".join(
            f"mkdir /mnt/{new} && mount --bind '{old}' /mnt/{new}"
            for new, old in {"python": python, "source": source, "course": course}.items()
        )
        script = f'mount -t tmpfs -o mode=755 t /mnt && {mounts} && cd /mnt/course && exec "$@"'
        become_user = "setpriv --reuid=12345 --regid=12345 --clear-groups env"
        command = ["unshare", "--mount", "sh", "-c", script, "sh", *become_user.split()]
        python, source, folder = Path("/mnt/python"), Path("/mnt/source"), Path("/mnt/course")
    environment = [f"HOME={folder}", f"PYTHONPATH={source}", "PYTHONDONTWRITEBYTECODE=1"]
    program = [f"{python}/bin/python", "-m", "nbmark.commands.cli"]
    return subprocess.run(
        [*command, *environment, *program, *arguments],
        cwd=course,
        text=True,
        capture_output=True,
        check=False,
    )


def output_of(session: Session, code: str, timeout_s: float = 10) -> str:
    """Run a cell, and return what it printed or the name of its error."""
    cell_run = session.run_cell(code, timeout_s)
    printed = "".join(output.get("text", "") for output in cell_run.outputs).strip()
    return printed or cell_run.error_name


def ask(session: Session, question: Expr) -> Any:
    """Return the agent's answer to a question; None if it gave none."""
    return json.loads(session.ask(canonical(tree_of(question))).text or "null")
