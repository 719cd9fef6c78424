"""A student's own files lie beside the notebook where the assignment lets them in."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from conftest import run
from handed_in import DONE, Files, Toy, results_of, submit
from helpers import RIGHT, STAMP
from nbmark.course.course import Course
from nbmark.course.folders import Folders, load_config
from nbmark.intake.receive import Inbox

HELPED = {
    "a-answer": "from helpers import double as f\nfrom pathlib import Path\n"
    "a = float(Path('data/a.txt').read_text())"
}


@pytest.fixture(scope="module")
def with_own_files(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a toy course that lets own files in, and has a file of its own."""
    course = Path(shutil.copytree(toy_template, tmp_path_factory.mktemp("own") / "course"))
    for folder in ("source", "release"):
        (course / folder / "toy" / "table.csv").write_text("instructor")
    settings = course / "graders" / "toy" / "assignment.toml"
    settings.write_text('[files]\nstudents = ["*.py", "data/*", "table.csv"]\n')
    completed = run(course, "nbmark", "verify", "toy")
    assert completed.returncode == 0, completed.stderr
    return course


def test_own_files_that_the_assignment_lets_in_are_there_and_others_are_named(with_own_files):
    course, toy = with_own_files, Toy(with_own_files)
    own = {"helpers.py": b"def double(x): return 2 * x", "data/a.txt": b"3"}
    submit(course, "ada", "toy", {"toy.ipynb": toy.file(HELPED), "b.npy": b"", **own})
    submit(course, "ben", "toy", {"toy.ipynb": toy.file(HELPED)})
    reads = {"a-answer": f"{RIGHT}\nprint(open('table.csv').read())"}
    submit(course, "cleo", "toy", {"toy.ipynb": toy.file(reads), "table.csv": b"student"})
    submit(course, "dora", "toy", {"toy.ipynb": toy.file(reads), "table.csv": b"instructor"})
    large = {f"data/{number}": bytes(5 << 20) for number in (1, 2)}
    submit(course, "emil", "toy", {"toy.ipynb": toy.file(DONE), **large})
    results = results_of(course, "toy")
    points = {student: result.points for student, result in results.items()}
    assert points == {"ada": 3, "ben": 0, "cleo": 3, "dora": 3, "emil": 3}
    assert "also holds `b.npy`. Only the notebook" in results["ada"].page
    assert "helpers.py" not in results["ada"].page
    assert "`table.csv` that differs from the assignment's own" in results["cleo"].page
    assert "instructor" in results["cleo"].page
    assert "table.csv`" not in results["dora"].page
    assert "Your file `data/2` was not there" in results["emil"].page
    assert all(result.marked <= {"w"} for result in results.values())
    # A check that asks something new runs the notebook again, with the same files.
    checks = course / "graders" / "toy" / "test_toy.py"
    checks.write_text(checks.read_text().replace("draw.normal(size=3)", "draw.normal(size=4)"))
    completed = run(course, "nbmark", "regrade", "toy", "--student", "ada")
    assert "1 regraded, 0 differ (0 in points), 1 had to run again" in completed.stdout


def test_own_files_are_not_parsed_and_hidden_ones_do_not_hide_them(with_own_files):
    course, toy = with_own_files, Toy(with_own_files)
    deep = b"x = " + b"-" * 50_000 + b"1"
    broken = toy.file({"a-answer": "1 / 0"})
    submit(course, "gus", "toy", {"toy.ipynb": broken, "helpers.py": deep})
    own = {"helpers.py": b"def double(x): return 2 * x", "data/a.txt": b"3"}
    history = {f".git/{number}": b"" for number in range(250)}
    submit(course, "hal", "toy", {"toy.ipynb": toy.file(HELPED), **own, **history})
    results = results_of(course, "toy")
    assert "ZeroDivisionError: division by zero" in results["gus"].page
    assert results["gus"].marked <= {"w"}
    assert results["hal"].points == 3


def test_an_own_file_belongs_to_the_digest_and_a_plain_submission_keeps_its_own(with_own_files):
    toy = Toy(with_own_files)

    def digest(files: Files) -> str:
        submit(with_own_files, "fay", "toy", files)
        folders = Folders.of_course(load_config(with_own_files))
        inbox = Inbox(Course(with_own_files).assignment("toy"), folders, {})
        return inbox.receive("fay").submission.digest

    notebook = toy.file(DONE)
    plain = digest({"toy.ipynb": notebook, "table.csv": b"released"})
    parts = STAMP.encode() + b"toy\0" + hashlib.sha256(notebook).digest()
    assert plain == hashlib.sha256(parts).hexdigest()
    with_helpers = digest({"toy.ipynb": notebook, "helpers.py": b"x = 1"})
    assert with_helpers != plain
    assert digest({"toy.ipynb": notebook, "helpers.py": b"x = 2"}) not in (plain, with_helpers)
