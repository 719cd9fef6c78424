"""Work that students hand in under odd names, in odd places and in odd encodings is not lost."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, new_course, run
from helpers import HALF, RIGHT, STAMP, dump_gradebook
from nbmark.course.course import Assignment, Course
from nbmark.course.folders import Folders, load_config
from nbmark.intake.choose import Chosen, choose
from nbmark.intake.receive import Inbox
from nbmark.models import Check, CheckResult, Graded
from nbmark.notebooks import Cell, read_notebook, write_notebook
from nbmark.records import evidence
from nbmark.records.feedback import autograded_notebook, summary
from nbmark.running.no_run import NOT_GRADED, NoRun

Files = dict[str, bytes]


@dataclass(frozen=True)
class Result:
    """What grading left: points, marks for a look, comments, the row of the table and the page."""

    points: float
    marked: set[str]
    comments: dict[str, str]
    says: str
    page: str


def results_of(course: Path, assignment: str) -> dict[str, Result]:
    """Grade an assignment, and return the results by student."""
    completed = run(course, "nbmark", "grade", assignment, "--json")
    assert completed.returncode == 0, completed.stderr
    rows = {row["student"]: row for row in json.loads(completed.stdout)["students"]}
    results = {}
    for student in dump_gradebook(course, assignment):
        name = student["student"]
        (notebook,) = student["notebooks"].values()
        comments = {cell: comment for cell, (comment, _) in notebook["comments"].items()}
        marked = {cell for cell, grade in notebook["grades"].items() if grade[3]}
        page = course / "autograded" / name / assignment / f"{assignment}.ipynb"
        says = summary(evidence.load(Course(course), assignment, name))
        text = text_of(json.loads(page.read_text()))
        results[name] = Result(rows[name]["points"], marked, comments, says, text)
    return results


def text_of(notebook: dict[str, Any]) -> str:
    """Return what a student reads on the page of a notebook, sources and printed text."""
    parts = []
    for cell in notebook["cells"]:
        parts.append("".join(cell["source"]))
        parts += ["".join(output.get("text", "")) for output in cell.get("outputs", [])]
        parts += [
            str(output.get("data", {}).get("text/plain", "")) for output in cell.get("outputs", [])
        ]
    return "\n".join(parts)


def submit(course: Path, student: str, assignment: str, files: Files) -> Path:
    folder = course / "submitted" / student / assignment
    for name, data in {**files, "timestamp.txt": STAMP.encode()}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


# The reported cases, on the course's first assignment.


REPORTED = "answer-in-own-cell-below copy1-beside ipynb-txt own-files written-copy-at-end".split()


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Return the results of the hand-ins under ``tests/handins/`` by folder."""
    course = new_course(tmp_path_factory.mktemp("reported"), ROOT, "mse")
    for name in REPORTED:
        folder = ROOT / "tests" / "handins" / name
        submit(course, name, "mse", {path.name: path.read_bytes() for path in folder.iterdir()})
    return results_of(course, "mse")


def test_answers_below_their_tests_are_named_and_a_written_one_stays_for_a_person(reported):
    result = reported["answer-in-own-cell-below"]
    assert (
        "`residual_5`, `squared_residual_5` and `y_hat_5` are defined in cell 12, below the tests"
        in result.page
    )
    assert "`mse` is defined in cell" in result.page
    assert "you wrote into other text cells, so a person will look" in result.page
    assert "Your answer to this task stands in cell 12 and not in its own cell" in result.says
    assert {"table", "written"} <= result.marked
    assert not any(
        result.comments[cell] for cell in ("written", "table-answer", "mse-function-answer")
    )


def test_work_in_a_copy_beside_the_untouched_notebook_is_named_and_marked(reported):
    result = reported["copy1-beside"]
    assert result.points == 0
    for text in (result.says, result.page):
        assert "it is as you received it. Work of yours is in `mse-Copy1.ipynb` beside it" in text
    assert result.marked == {"table", "written"}
    assert not any(result.comments.values())


def test_a_notebook_whose_name_got_txt_added_is_graded_and_marked(reported):
    result = reported["ipynb-txt"]
    assert result.points == 18
    assert "`mse.ipynb.txt` was graded instead" in result.says
    assert "`mse.ipynb.txt` was graded instead" in result.page
    assert result.marked == {"table", "written"}


def test_student_and_instructor_read_that_own_files_are_not_there(reported):
    result = reported["own-files"]
    assert result.points < 18
    for text in (result.says, result.page):
        assert "`line.csv` and `myhelpers.py`" in text
        assert "these files of yours are not there" in text
    assert result.marked == {"written"}


def test_a_blank_copy_does_not_hide_a_written_answer(reported):
    result = reported["written-copy-at-end"]
    assert result.points == 18
    assert "Two women are 41, with 139 and 171 mmHg" in result.page
    assert "YOUR ANSWER HERE" not in result.page
    assert result.marked == {"written"}
    assert not result.comments["written"]


# Every other kind, on the smallest assignment, all graded in one go.

UNTOUCHED: dict[str, str] = {}
DONE = {"a-answer": RIGHT, "w": "Because."}
TITLE = Cell("markdown", "An own title")


class Toy:
    """Makes files of the toy assignment from the released notebook."""

    def __init__(self, course: Path) -> None:
        self.released = read_notebook((course / "release" / "toy" / "toy.ipynb").read_bytes())

    def cells(self, answers: dict[str, str]) -> list[Cell]:
        return [
            replace(cell, source=answers.get(cell.grade_id, cell.source)) for cell in self.released
        ]

    def file(self, answers: dict[str, str], encoding: str = "utf-8") -> bytes:
        return as_file(self.cells(answers)).decode().encode(encoding)

    def cell(self, grade_id: str, source: str) -> Cell:
        (cell,) = (cell for cell in self.released if cell.grade_id == grade_id)
        return replace(cell, source=source)


def as_file(cells: Iterable[Cell]) -> bytes:
    return write_notebook(cells, {}, {})


def format_3(cells: Iterable[Cell]) -> bytes:
    """Return a notebook in the format of IPython 2, with its cells in a worksheet."""
    old = []
    for cell in cells:
        metadata = {"nbgrader": dict(cell.nbgrader)}
        if cell.kind == "code":
            parts = {"input": cell.source, "language": "python", "outputs": []}
        else:
            parts = {"source": cell.source}
        old.append({"cell_type": cell.kind, "metadata": metadata, **parts})
    sheets = [{"cells": old, "metadata": {}}]
    return json.dumps(
        {"metadata": {"name": ""}, "nbformat": 3, "nbformat_minor": 0, "worksheets": sheets}
    ).encode()


def with_outputs(data: bytes, size: int) -> bytes:
    """Return a notebook whose first code cell printed `size` characters."""
    notebook = json.loads(data)
    output = {"output_type": "stream", "name": "stdout", "text": "x" * size}
    next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")["outputs"] = [output]
    return json.dumps(notebook).encode()


def without_ids(cells: Iterable[Cell]) -> list[Cell]:
    return [replace(cell, nbgrader={}) for cell in cells]


@dataclass(frozen=True)
class HandIn:
    """Files of a submission, and what must become of them."""

    files: Callable[[Toy], Files]
    points: float
    marked: set[str]
    says: str = ""
    silent: frozenset[str] = frozenset()  # the cells that may say "No response."


LATIN = {"a-answer": f"# \u00e4\n{RIGHT}", "w": "Because."}
HANDINS = {
    "in-order": HandIn(lambda toy: {"toy.ipynb": toy.file(DONE)}, 3, {"w"}),
    "blank": HandIn(
        lambda toy: {"toy.ipynb": toy.file(UNTOUCHED)},
        0,
        set(),
        silent=frozenset({"a-answer", "w"}),
    ),
    "nothing": HandIn(lambda toy: {}, 0, {"a", "w"}, "no notebook called toy.ipynb"),
    # Under another name
    "browser-copy": HandIn(
        lambda toy: {"toy (1).ipynb": toy.file(DONE)},
        3,
        {"a", "w"},
        "`toy (1).ipynb` was graded instead",
    ),
    "json": HandIn(
        lambda toy: {"toy.json": toy.file(DONE)}, 3, {"a", "w"}, "`toy.json` was graded"
    ),
    "other-language": HandIn(
        lambda toy: {"Kopie von toy.ipynb": toy.file(DONE)}, 3, {"a", "w"}, "`Kopie von toy.ipynb`"
    ),
    "nested": HandIn(
        lambda toy: {"toy/toy.ipynb": toy.file(DONE)}, 3, {"a", "w"}, "`toy/toy.ipynb` was graded"
    ),
    "other-case": HandIn(lambda toy: {"TOY.ipynb": toy.file(DONE)}, 3, {"a", "w"}, "`TOY.ipynb`"),
    "empty-and-copy": HandIn(
        lambda toy: {"toy.ipynb": b"", "toy-Copy1.ipynb": toy.file(DONE)},
        3,
        {"a", "w"},
        "This notebook file is empty. `toy-Copy1.ipynb` was graded instead",
    ),
    "folder-for-file": HandIn(
        lambda toy: {"toy.ipynb/toy.ipynb": toy.file(DONE)}, 3, {"a", "w"}, "`toy.ipynb/toy.ipynb`"
    ),
    "no-ids-other-name": HandIn(
        lambda toy: {"final.ipynb": as_file(without_ids(toy.cells(DONE)))},
        3,
        {"a", "w"},
        "`final.ipynb` was graded instead",
    ),
    # Several
    "one-of-two-edited": HandIn(
        lambda toy: {"toy (1).ipynb": toy.file(UNTOUCHED), "toy (2).ipynb": toy.file(DONE)},
        3,
        {"a", "w"},
        "`toy (2).ipynb` was graded instead",
    ),
    "two-equal": HandIn(
        lambda toy: {"toy (1).ipynb": toy.file(DONE), "toy (2).ipynb": toy.file(DONE)},
        3,
        {"a", "w"},
    ),
    "two-differ": HandIn(
        lambda toy: {"b.ipynb": toy.file({"a-answer": HALF}), "c.ipynb": toy.file(DONE)},
        0,
        {"a", "w"},
        "`b.ipynb` and `c.ipynb`. None of them was graded",
    ),
    "copy-with-more": HandIn(
        lambda toy: {"toy.ipynb": toy.file({"a-answer": HALF}), "toy-Copy1.ipynb": toy.file(DONE)},
        2,
        {"a", "w"},
        "Other answers of yours are in `toy-Copy1.ipynb` beside it",
    ),
    "copy-with-less": HandIn(
        lambda toy: {"toy.ipynb": toy.file(DONE), "old.ipynb": toy.file({"a-answer": HALF})},
        3,
        {"w"},
        "and not `old.ipynb` beside it",
    ),
    "equal-copy": HandIn(
        lambda toy: {"toy.ipynb": toy.file(DONE), "toy-Copy1.ipynb": toy.file(DONE)}, 3, {"w"}
    ),
    # Other kinds of file
    "zip": HandIn(
        lambda toy: {"work.zip": b"PK\x03\x04"},
        0,
        {"a", "w"},
        "Your submission also holds `work.zip`",
    ),
    "pdf-beside": HandIn(
        lambda toy: {"toy.ipynb": toy.file(UNTOUCHED), "answers.pdf": b"%PDF"},
        0,
        {"a", "w"},
        "nobody has opened it yet",
    ),
    "not-a-notebook": HandIn(
        lambda toy: {"toy.ipynb.txt": b"a = 3"}, 0, {"a", "w"}, "also holds `toy.ipynb.txt`"
    ),
    "picture": HandIn(
        lambda toy: {"toy.ipynb": toy.file(DONE), "plot.png": b"\x89PNG"}, 3, {"w"}, "`plot.png`"
    ),
    "checkpoint": HandIn(
        lambda toy: {
            "toy.ipynb": toy.file(DONE),
            ".ipynb_checkpoints/toy-checkpoint.ipynb": toy.file(UNTOUCHED),
            "feedback/2026/toy.html": b"",
        },
        3,
        {"w"},
    ),
    "hostile-names": HandIn(
        lambda toy: {"toy.ipynb": toy.file(DONE), "\x1b[31m`<b>\udcff.zip": b"PK"},
        3,
        {"a", "w"},
        r"'<b>\udcff.zip`",
    ),
    # Copies of one cell
    "stub-copy-below": HandIn(
        lambda toy: {"toy.ipynb": as_file([*toy.cells(DONE), *toy.cells(UNTOUCHED)])}, 3, {"w"}
    ),
    "stub-copy-in-place": HandIn(
        lambda toy: {
            "toy.ipynb": as_file([toy.cell("a-answer", RIGHT), *toy.cells({"w": "Because."})])
        },
        3,
        {"w"},
    ),
    "two-edited-copies": HandIn(
        lambda toy: {"toy.ipynb": as_file([toy.cell("a-answer", HALF), *toy.cells(DONE)])},
        3,
        {"a", "w"},
        "several filled-in copies of the answer cell 'a-answer'",
    ),
    "own-cell-above-tests": HandIn(
        lambda toy: {
            "toy.ipynb": as_file([*toy.cells({})[:2], Cell("code", RIGHT), *toy.cells({})[2:]])
        },
        3,
        set(),
        "`a` and `f` are defined in cell 3, and that counts.",
        silent=frozenset({"w"}),
    ),
    "written-into-the-question": HandIn(
        lambda toy: {"toy.ipynb": as_file([*toy.cells({"a-answer": RIGHT}), TITLE])},
        3,
        {"w"},
        "you wrote into other text cells",
    ),
    # Encodings and formats
    "utf-8-mark": HandIn(lambda toy: {"toy.ipynb": toy.file(LATIN, "utf-8-sig")}, 3, {"w"}),
    "utf-16": HandIn(lambda toy: {"toy.ipynb": toy.file(LATIN, "utf-16")}, 3, {"w"}),
    "latin-1": HandIn(lambda toy: {"toy.ipynb": toy.file(LATIN, "latin-1")}, 3, {"w"}),
    "utf-16-other-name": HandIn(
        lambda toy: {"toy.txt": toy.file(LATIN, "utf-16-be")}, 3, {"a", "w"}, "`toy.txt` was graded"
    ),
    "format-3": HandIn(lambda toy: {"toy.ipynb": format_3(toy.cells(DONE))}, 3, {"w"}),
    "outputs-of-60-mb": HandIn(
        lambda toy: {"toy.ipynb": with_outputs(toy.file(DONE), 60_000_000)}, 3, {"w"}
    ),
    "ids-gone": HandIn(lambda toy: {"toy.ipynb": as_file(without_ids(toy.cells(DONE)))}, 3, {"w"}),
}


@pytest.fixture(scope="module")
def handed_in(
    toy_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Result]]:
    course = Path(shutil.copytree(toy_template, tmp_path_factory.mktemp("handins") / "course"))
    toy = Toy(course)
    for student, handin in HANDINS.items():
        submit(course, student, "toy", handin.files(toy))
    return course, results_of(course, "toy")


@pytest.mark.parametrize("student", HANDINS)
def test_each_hand_in_gets_its_points_its_mark_and_its_sentence(handed_in, student):
    handin, result = HANDINS[student], handed_in[1][student]
    assert (result.points, result.marked) == (handin.points, handin.marked)
    assert handin.says in result.page
    assert {cell for cell, comment in result.comments.items() if comment} == handin.silent


def test_regrading_hand_ins_changes_nothing(handed_in):
    course, _ = handed_in
    before = dump_gradebook(course, "toy")
    completed = run(course, "nbmark", "regrade", "toy", "--apply")
    assert f"{len(HANDINS)} regraded, 0 differ" in completed.stdout, completed.stderr
    assert dump_gradebook(course, "toy") == before


# Own files beside the notebook

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


# Several notebooks in one assignment


def make_pair(course: Path, toy: Toy) -> Assignment:
    """Make an assignment of two notebooks, whose grade ids begin with their names."""
    for part in ("one", "two"):
        for folder in ("source", "release"):
            path = course / folder / "pair" / f"{part}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(as_file(part_of(toy, part, UNTOUCHED)))
    (course / "graders" / "pair").mkdir()
    return Course(course).assignment("pair")


def part_of(toy: Toy, part: str, answers: dict[str, str]) -> list[Cell]:
    return [
        replace(cell, nbgrader={**cell.nbgrader, "grade_id": f"{part}-{cell.grade_id}"})
        for cell in toy.cells(answers)
    ]


def chosen(assignment: Assignment, files: Files) -> Chosen:
    submit(assignment.course.root, "ada", "pair", files)
    folders = Folders.of_course(load_config(assignment.course.root))
    return choose(assignment, Inbox(assignment, folders, {}).receive("ada").submission)


def test_swapped_notebooks_of_an_assignment_are_told_apart_by_their_cells(toy_course):
    toy = Toy(toy_course)
    pair = make_pair(toy_course, toy)
    one, two = (as_file(part_of(toy, part, DONE)) for part in ("one", "two"))
    result = chosen(pair, {"one.ipynb": two, "two.ipynb": one})
    assert not result.unreadable
    for part, other in (("one", "two"), ("two", "one")):
        answers = {cell.grade_id: cell.source for cell in result.cells[part]}
        assert answers[f"{part}-a-answer"] == RIGHT
        (notice,) = result.notices[part]
        assert f"holds the tasks of another notebook. `{other}.ipynb` was graded" in notice.says
        assert notice.needs_look


def test_a_missing_notebook_is_one_line_however_many_tasks_it_has(toy_course):
    toy = Toy(toy_course)
    pair = make_pair(toy_course, toy)
    result = chosen(pair, {"one.ipynb": as_file(part_of(toy, "one", DONE))})
    assert result.unreadable == {"two": "The submission has no notebook called two.ipynb."}
    results = [
        CheckResult(Check(f"test_{number}", "two-a", 1, str(number)), "failed", NOT_GRADED)
        for number in range(22)
    ]
    cells = {name: NoRun(cells).finish() for name, cells in result.cells.items()}
    graded = Graded("ada", "pair", "0", cells, results, unreadable=result.unreadable)
    assert summary(graded) == result.unreadable["two"]
    page = text_of(json.loads(autograded_notebook(graded, "two")))
    assert page.count("could not be graded") == 1
    assert NOT_GRADED not in page
