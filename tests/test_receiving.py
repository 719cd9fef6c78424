"""A submission that we fail to read keeps its earlier grade, and the others are still graded."""

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
from helpers import HALF, RIGHT, as_ordinary_user, dump_gradebook, submit_toy
from nbmark.course.course import Course
from nbmark.course.folders import Folders, load_config
from nbmark.errors import InfrastructureError
from nbmark.gradebook.gradebook import CourseGradebook
from nbmark.grading.grade import grade
from nbmark.grading.job import Job, JobOptions
from nbmark.grading.progress import ProgressListener
from nbmark.intake.receive import Inbox
from nbmark.untrusted.files import replaced_folder
from nbmark.workers.pool import CheckPool


@pytest.fixture
def graded(toy_course: Path) -> Path:
    """Return a course with full points for Ada and Ben; Ben has then submitted worse work."""
    for student in ("ada", "ben"):
        submit_toy(toy_course, student, RIGHT)
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    submit_toy(toy_course, "ben", HALF)
    return toy_course


def points(course: Path) -> dict[str, float]:
    """Return everybody's automatic points at the grade cell."""
    return {
        row["student"]: row["notebooks"]["toy"]["grades"]["a"][0]
        for row in dump_gradebook(course, "toy")
    }


def inbox(course: Path) -> Inbox:
    return Inbox(Course(course).assignment("toy"), Folders.of_course(load_config(course)), {})


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("name", ["toy.ipynb", "timestamp.txt", "."])
def test_a_file_that_cannot_be_opened_costs_no_student_a_grade(graded, name, force):
    (graded / "submitted" / "ada" / "toy" / name).chmod(0)
    completed = as_ordinary_user(graded, "grade", "toy", "--json", *force)
    assert completed.returncode == 1
    rows = {row["student"]: row for row in json.loads(completed.stdout)["students"]}
    assert "submitted/ada/toy cannot be read (Permission denied)" in rows["ada"]["trouble"]
    assert (rows["ada"]["outcome"], rows["ben"]["outcome"]) == ("not graded", "graded")
    assert points(graded) == {"ada": 3.0, "ben": 2.0}


@pytest.mark.parametrize("force", [False, True])
def test_a_submission_that_vanishes_after_it_was_listed_costs_no_student_a_grade(graded, force):
    class Vandal(ProgressListener):
        """Removes a submission when grading begins."""

        def begin(self, due: int, up_to_date: int) -> None:
            shutil.rmtree(graded / "submitted" / "ada")

    submit_toy(graded, "ada", HALF)
    assignment = Course(graded).assignment("toy")
    config = load_config(graded)
    gradebook, folders = CourseGradebook.of_course(config), Folders.of_course(config)
    options = JobOptions("bubblewrap", force=force)
    job = Job(assignment, gradebook, folders, None, options, Vandal())
    with closing(CheckPool(assignment, "bubblewrap", 1)) as pool:
        ada, ben = grade(job, pool)
    assert (ada.outcome, ben.outcome) == ("not graded", "graded")
    assert "the submission is gone" in ada.trouble
    assert points(graded) == {"ada": 3.0, "ben": 2.0}


def test_a_missing_folder_is_not_taken_for_a_submission_without_a_notebook(toy_course):
    folder = submit_toy(toy_course, "ada", RIGHT)
    shutil.rmtree(folder)
    with pytest.raises(InfrastructureError, match="the submission is gone"):
        inbox(toy_course).receive("ada")


def test_a_submission_is_read_whole_or_not_at_all_during_a_collection(toy_course):
    folder = submit_toy(toy_course, "ada", RIGHT)
    box = inbox(toy_course)
    digest = box.receive("ada").submission.digest
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    stop = threading.Event()

    def collect() -> None:
        while not stop.is_set():
            with replaced_folder(folder) as fresh:
                for name, data in files.items():
                    (fresh / name).write_bytes(data)
            time.sleep(0.001)

    collector = threading.Thread(target=collect)
    collector.start()
    digests = set()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        with contextlib.suppress(InfrastructureError):
            digests.add(box.receive("ada").submission.digest)
    stop.set()
    collector.join()
    assert digests == {digest}


def test_running_out_of_file_descriptors_is_our_own_failure(toy_course):
    submit_toy(toy_course, "ada", RIGHT)
    box = inbox(toy_course)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(InfrastructureError, match="Too many open files"):
            box.receive("ada")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def make_socket(path: Path) -> None:
    """Bind a Unix socket to a path."""
    # Such an address holds about 100 characters, and a temporary folder may have more.
    with closing(socket.socket(socket.AF_UNIX)) as server, contextlib.chdir(path.parent):
        server.bind(path.name)


REPLACEMENTS = {
    "nothing": lambda path: None,
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a socket": make_socket,
}


@pytest.mark.parametrize("kind", REPLACEMENTS)
def test_anything_but_a_file_in_place_of_the_notebook_is_explained_to_the_student(toy_course, kind):
    path = submit_toy(toy_course, "ada", RIGHT) / "toy.ipynb"
    path.unlink()
    REPLACEMENTS[kind](path)
    received = inbox(toy_course).receive("ada").submission
    assert received.notebooks == {"toy": None}
    assert received.refused["toy"]


@pytest.mark.parametrize("kind", ["a link", "a file"])
def test_a_link_or_file_in_place_of_the_folder_is_explained_to_the_student(toy_course, kind):
    folder = submit_toy(toy_course, "ada", RIGHT)
    shutil.rmtree(folder)
    folder.symlink_to("/tmp") if kind == "a link" else folder.write_text("not a folder")
    refused = inbox(toy_course).receive("ada").submission.refused["toy"]
    assert "is a link or a file, not a folder" in refused
