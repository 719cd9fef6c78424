"""A submission that cannot be read is nobody's zero: the earlier grade stays, the others go on."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import socket
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from conftest import run
from helpers import HALF, RIGHT, as_ordinary_user, dump, hand_in_toy
from nbmark.course.course import Course
from nbmark.errors import InfrastructureError
from nbmark.gradebook.gradebook import CourseGradebook, load_config
from nbmark.grading.grade import Inbox, Settings, Watcher, grade
from nbmark.untrusted.files import replaced_folder
from nbmark.workers.pool import CheckPool


@pytest.fixture
def graded(toy_course: Path) -> Path:
    """Ada and Ben graded with full points; Ben has handed in anew, worse work."""
    for student in ("ada", "ben"):
        hand_in_toy(toy_course, student, RIGHT)
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    hand_in_toy(toy_course, "ben", HALF)
    return toy_course


def points(course: Path) -> dict[str, float]:
    return {
        row["student"]: row["notebooks"]["toy"]["grades"]["a"][0] for row in dump(course, "toy")
    }


def inbox(course: Path) -> Inbox:
    return Inbox(Course(course).assignment("toy"), CourseGradebook.of_course(load_config(course)))


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("what", ["toy.ipynb", "timestamp.txt", "."])
def test_a_file_that_may_not_be_opened_costs_nobody_a_grade(graded, what, force):
    (graded / "submitted" / "ada" / "toy" / what).chmod(0)
    done = as_ordinary_user(graded, "grade", "toy", "--json", *force)
    assert done.returncode == 1
    rows = {row["student"]: row for row in json.loads(done.stdout)["students"]}
    assert "submitted/ada/toy cannot be read (Permission denied)" in rows["ada"]["trouble"]
    assert (rows["ada"]["outcome"], rows["ben"]["outcome"]) == ("not graded", "graded")
    assert points(graded) == {"ada": 3.0, "ben": 2.0}


@pytest.mark.parametrize("force", [False, True])
def test_a_submission_that_vanishes_after_it_was_listed_costs_nobody_a_grade(graded, force):
    class Thief(Watcher):
        def begin(self, due: int, up_to_date: int) -> None:
            shutil.rmtree(graded / "submitted" / "ada")

    hand_in_toy(graded, "ada", HALF)
    assignment = Course(graded).assignment("toy")
    registrar = CourseGradebook.of_course(load_config(graded))
    with closing(CheckPool(assignment, "bubblewrap", 1)) as pool:
        ada, ben = grade(assignment, registrar, pool, None, Settings(force=force), Thief())
    assert (ada.outcome, ben.outcome) == ("not graded", "graded")
    assert "the submission is gone" in ada.trouble
    assert points(graded) == {"ada": 3.0, "ben": 2.0}


def test_a_submission_that_is_gone_is_no_submission_without_a_notebook(toy_course):
    folder = hand_in_toy(toy_course, "ada", RIGHT)
    shutil.rmtree(folder)
    with pytest.raises(InfrastructureError, match="the submission is gone"):
        inbox(toy_course).receive("ada")


def test_a_submission_is_read_whole_or_not_at_all_while_somebody_collects(toy_course):
    folder = hand_in_toy(toy_course, "ada", RIGHT)
    box = inbox(toy_course)
    wanted = box.receive("ada").submission.digest
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    ended = threading.Event()

    def collect() -> None:
        while not ended.is_set():
            with replaced_folder(folder) as fresh:
                for name, data in files.items():
                    (fresh / name).write_bytes(data)
            time.sleep(0.001)

    collector = threading.Thread(target=collect)
    collector.start()
    found = []
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        with contextlib.suppress(InfrastructureError):
            found.append(box.receive("ada").submission.digest)
    ended.set()
    collector.join()
    assert set(found) == {wanted}


def test_a_process_without_descriptors_left_reads_no_submission(toy_course):
    hand_in_toy(toy_course, "ada", RIGHT)
    box = inbox(toy_course)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(InfrastructureError, match="Too many open files"):
            box.receive("ada")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def a_socket(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as server, contextlib.chdir(path.parent):
        server.bind(path.name)  # a whole path may be too long


ODD = {
    "nothing": lambda path: None,
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "a link in circles": lambda path: path.symlink_to(path),
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a socket": a_socket,
}


@pytest.mark.parametrize("kind", ODD)
def test_what_a_student_put_in_place_of_a_notebook_is_the_students_trouble(toy_course, kind):
    path = hand_in_toy(toy_course, "ada", RIGHT) / "toy.ipynb"
    path.unlink()
    ODD[kind](path)
    received = inbox(toy_course).receive("ada").submission
    assert received.notebooks == {"toy": None}
    assert received.refused["toy"]


@pytest.mark.parametrize("kind", ["a link", "a file"])
def test_what_a_student_put_in_place_of_the_folder_is_the_students_trouble(toy_course, kind):
    folder = hand_in_toy(toy_course, "ada", RIGHT)
    shutil.rmtree(folder)
    folder.symlink_to("/tmp") if kind == "a link" else folder.write_text("no folder")
    refused = inbox(toy_course).receive("ada").submission.refused["toy"]
    assert "is no folder but a link or a file" in refused
