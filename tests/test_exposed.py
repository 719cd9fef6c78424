"""Grading refuses a course that lies where students' code could read it."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from conftest import run
from dask_cluster import Dask
from helpers import RIGHT, dump_gradebook, submit_toy
from nbmark.course.course import Course
from nbmark.errors import SandboxUnavailable
from nbmark.sandbox.bubblewrap import visible_above
from nbmark.workers.dask.material import MaterialCache, packed


@pytest.fixture
def exposed(toy_course: Path) -> Iterator[Path]:
    """Make a course with Ada's submission inside the Python environment, which sandboxes show."""
    with tempfile.TemporaryDirectory(prefix="course-", dir=sys.prefix) as folder:
        course = Path(shutil.copytree(toy_course, Path(folder) / "course"))
        submit_toy(course, "ada", RIGHT)
        yield course


@pytest.mark.parametrize(
    "command",
    ["nbmark grade toy", "nbmark grade --all", "nbmark regrade toy", "nbgrader autograde toy"],
)
def test_a_course_that_students_code_could_read_is_refused(exposed, command):
    completed = run(exposed, *command.split())
    assert completed.returncode == 1
    assert f"{exposed} lies below {sys.prefix}, which students' code can read" in completed.stderr
    assert "move the course" in completed.stderr
    # nbgrader reports an exporter's error in its own form, which may include a traceback.
    assert command.startswith("nbgrader") or "Traceback" not in completed.stderr
    assert dump_gradebook(exposed, "toy") == []


def test_a_link_to_an_exposed_course_is_refused_too(exposed, tmp_path):
    (tmp_path / "linked").symlink_to(exposed)
    completed = run(tmp_path, "nbmark", "grade", "toy", "--course", "linked")
    assert completed.returncode == 1
    assert "move the course" in completed.stderr


def test_pytest_refuses_to_check_one_notebook_of_an_exposed_course(exposed):
    completed = run(exposed, "pytest", "graders/toy", "--submission", "submitted/ada/toy/toy.ipynb")
    assert completed.returncode == 4
    assert "move the course" in completed.stderr


def test_without_a_sandbox_an_exposed_course_is_graded(exposed):
    completed = run(exposed, "nbmark", "grade", "toy", "--sandbox", "none")
    assert completed.returncode == 0, completed.stderr


def test_doctor_reports_an_exposed_course(exposed, toy_course):
    for course, is_hidden in ((exposed, False), (toy_course, True)):
        completed = run(course, "nbmark", "doctor", "--json")
        findings = {finding["subject"]: finding for finding in json.loads(completed.stdout)}
        assert findings["place of the course"]["ok"] is is_hidden
        assert completed.returncode == int(not is_hidden)
    assert "move the course" in run(exposed, "nbmark", "doctor").stdout


def test_a_worker_does_not_unpack_the_checks_in_an_exposed_folder(toy_course):
    data = packed(Course(toy_course).assignment("toy"))
    with tempfile.TemporaryDirectory(prefix="worker-", dir=sys.prefix) as local_directory:
        with (
            closing(MaterialCache()) as cache,
            pytest.raises(SandboxUnavailable, match="another --local-directory"),
            cache.checks("1", data, "toy", "bubblewrap", local_directory, 1),
        ):
            pass
        assert not list(Path(local_directory).iterdir())


def test_a_cluster_whose_worker_would_unpack_the_checks_there_grades_no_student(toy_course):
    submit_toy(toy_course, "ada", RIGHT)
    with (
        tempfile.TemporaryDirectory(prefix="worker-", dir=sys.prefix) as folder,
        closing(Dask(Path(folder) / "dask")) as dask,
    ):
        dask.workers(1)
        completed = run(toy_course, "nbmark", "grade", "toy", *dask.options())
        assert completed.returncode == 1
        assert f"lies below {sys.prefix}" in completed.stderr
        assert "another --local-directory" in completed.stderr
        assert "Traceback" not in completed.stderr
        assert dask.materials() == []
    assert dump_gradebook(toy_course, "toy") == []


def test_the_python_environment_may_lie_in_the_course():
    assert visible_above(Path(sys.prefix).parent) is None
    assert visible_above(Path("/usr/src/app")) == Path("/usr")
    assert visible_above(Path("/lib/course")) == Path("/usr")
