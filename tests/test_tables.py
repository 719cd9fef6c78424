"""The tables of the commands stay readable at any width, with any ids, and a log has everything."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len

from conftest import BIN
from helpers import HALF, RIGHT, submit_toy
from nbmark.authoring.verify import Case
from nbmark.commands.short_names import shortened
from nbmark.commands.tables import print_cases, print_changes, print_findings, print_rows
from nbmark.grading.readiness import Finding
from nbmark.grading.regrade import Change
from nbmark.models import CellScore
from nbmark.records.row import Row

SUMMER = "very-long-name-of-a-student-in-the-summer-term-2027"
WINTER = "very-long-name-of-a-student-in-the-winter-term-2027"
IDS = ["ada", "ben", "cleo", "Ada Lovelace", "o'neil", "李小明", "李" * 80, "n" * 128]
IDS += [SUMMER, WINTER, "UNI\\ada", "\u202eevil\n"]
SENTENCE = (
    "Task 6 (cell 26 of the notebook) ended the whole Python process. The notebook was run again "
    "without it in a new process, so later tasks still count."
)


def rows(tasks: int) -> list[Row]:
    """Return a class of twelve; all of them lost the points of the second task."""
    scores = {
        f"task-number-{number}": CellScore(0.0 if number == 2 else 2.0, 2.0, needs_look=False)
        for number in range(1, tasks + 1)
    }
    return [Row(student, "graded", scores, SENTENCE) for student in IDS]


@pytest.fixture
def terminal(monkeypatch, capsys):
    """Return a function that prints on a terminal of some width, and returns the lines."""

    def printed(width: int, show) -> list[str]:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(width))
        show()
        return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    return printed


def words(lines: list[str]) -> str:
    """Return what the cells of the last column say, without the breaks of their lines."""
    return " ".join(line.rpartition("│")[2].strip() for line in lines)


@pytest.mark.parametrize("tasks", [3, 9, 20])
@pytest.mark.parametrize("width", [60, 80, 100, 120, 180, 200])
def test_every_student_has_an_id_the_points_and_the_whole_sentence(terminal, width, tasks):
    lines = terminal(width, lambda: print_rows("mse", rows(tasks)))
    assert max(map(cell_len, lines)) <= width
    assert words(lines).count(SENTENCE) == len(IDS)
    total = f"{2 * tasks - 2}"
    assert len(re.findall(rf"(?m)(?:points: | ){total}(?: │|$)", "\n".join(lines))) == len(IDS)


def test_the_points_of_tasks_have_columns_where_they_fit_and_else_a_line(terminal):
    wide = terminal(200, lambda: print_rows("mse", rows(6)))
    assert re.split(r" *┃ *", wide[1].strip()) == [
        "student",
        *(f"task-number-{number}" for number in range(1, 7)),
        "points",
        "what happened",
    ]
    for width in (60, 80, 100):
        narrow = words(terminal(width, lambda: print_rows("mse", rows(6))))
        assert narrow.count("task-number-2 0/2") == len(IDS)
        assert "task-number-1" not in narrow


@pytest.mark.parametrize("width", [45, 60, 80, 200])
def test_students_with_similar_long_ids_can_be_told_apart(terminal, width):
    lines = terminal(width, lambda: print_rows("mse", rows(3)))
    names = [re.split(r" *│|  ", line)[0] for line in lines]
    similar = [name for name in names if name.startswith("very-long")]
    assert len(set(similar)) == 2
    assert "\\u202eevil\\u000a" in "\n".join(lines)


def test_a_narrow_terminal_gets_one_block_a_student(terminal):
    lines = terminal(45, lambda: print_rows("mse", rows(3)[5:6]))
    assert [line.rstrip() for line in lines[:2]] == ["mse", "李小明  points: 4"]
    assert lines[-2].strip() == "task-number-2 0/2"
    assert all(line.startswith("  ") for line in lines[2:-1])


def test_a_log_has_one_line_a_student_in_which_nothing_is_cut(capsys):
    long_sentence = "x" * 5000
    print_rows("mse", [*rows(20), Row("zoe", "not graded", trouble=long_sentence)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(IDS) + 1 + 1
    for student, line in zip(IDS[:-1], lines[2:], strict=False):
        assert line.startswith(f"{student} ")
        assert line.endswith(f"│ {SENTENCE}")
    assert lines[-2].endswith(long_sentence)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_other_tables_fit_too(terminal, width):
    changes = [Change(student, 3.0, 5.0, (SENTENCE,)) for student in IDS]
    lines = terminal(width, lambda: print_changes("mse", changes, applied=True))
    assert words(lines).count(SENTENCE) == len(IDS)
    findings = [Finding("place of the course", False, "/home/" * 20, SENTENCE)]
    lines = terminal(width, lambda: print_findings(findings))
    assert max(map(cell_len, lines)) <= width
    assert "".join("".join(lines).split()).count("/home/") >= 10
    case = Case("wrong/predictions-of-another-line", SENTENCE)
    lines = terminal(width, lambda: print_cases("mse", [case]))
    assert SENTENCE in words(lines)


def test_short_names_are_unique_and_fit():
    names = [f"{'a' * 60}{number:04}{'z' * 60}" for number in range(200)] + ["b" * 10, "b" * 11]
    short = shortened(names, 10)
    assert len(set(short)) == len(names)
    assert max(map(cell_len, short)) <= 10
    assert short[-2] == "b" * 10


@pytest.mark.parametrize("cells", range(4, 12))
def test_wide_letters_and_accents_are_cut_between_letters(cells):
    for name in ("李小明" * 10, "e\u0301" * 30):
        (short,) = shortened([name], cells)
        assert cell_len(short) <= cells
        assert not short.partition("…")[2].startswith("\u0301")


def test_a_real_terminal_and_a_log_in_another_encoding_show_the_class(toy_course: Path):
    for student, answer in {"李小明": RIGHT, "n" * 128: HALF}.items():
        submit_toy(toy_course, student, answer)
    command = [BIN / "nbmark", "grade", "toy"]
    screen, program_end = pty.openpty()
    fcntl.ioctl(program_end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with open(program_end, "w") as stdout:
        subprocess.run(command, cwd=toy_course, stdout=stdout, env=environment, check=True)
    text = re.sub(r"\x1b\[[0-9;]*m", "", os.read(screen, 1 << 16).decode())
    os.close(screen)
    lines = text.replace("\r", "").splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert any(re.match(r"n{10,}…n+ │ .* │ +2 │ ", line) for line in lines)
    assert any(re.match(r"李小明 +│ ", line) for line in lines)
    other = {**environment, "PYTHONIOENCODING": "latin-1"}
    log = subprocess.run(command, cwd=toy_course, env=other, capture_output=True, check=True)
    assert b"\\u674e\\u5c0f\\u660e" in log.stdout
