"""What students' code can read in the sandbox must not hold the course."""

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
from helpers import RIGHT, dump, hand_in_toy
from nbmark.course.course import Course
from nbmark.errors import SandboxUnavailable
from nbmark.sandbox.bubblewrap import visible_above
from nbmark.workers.dask.material import MaterialCache, packed


@pytest.fixture
def exposed(toy_course: Path) -> Iterator[Path]:
    """A course in the Python environment, which the sandbox shows, with Ada's work in it."""
    with tempfile.TemporaryDirectory(prefix="course-", dir=sys.prefix) as folder:
        course = Path(shutil.copytree(toy_course, Path(folder) / "course"))
        hand_in_toy(course, "ada", RIGHT)
        yield course


@pytest.mark.parametrize(
    "command",
    ["nbmark grade toy", "nbmark grade --all", "nbmark regrade toy", "nbgrader autograde toy"],
)
def test_a_course_that_students_code_could_read_is_refused(exposed, command):
    done = run(exposed, *command.split())
    assert done.returncode == 1
    assert f"{exposed} lies below {sys.prefix}, which students' code can read" in done.stderr
    assert "move the course" in done.stderr
    assert command.startswith("nbgrader") or "Traceback" not in done.stderr
    assert dump(exposed, "toy") == []


def test_a_link_to_such_a_course_is_no_way_around(exposed, tmp_path):
    (tmp_path / "linked").symlink_to(exposed)
    done = run(tmp_path, "nbmark", "grade", "toy", "--course", "linked")
    assert done.returncode == 1
    assert "move the course" in done.stderr


def test_one_notebook_is_not_run_there_either(exposed):
    done = run(exposed, "pytest", "graders/toy", "--submission", "submitted/ada/toy/toy.ipynb")
    assert done.returncode == 4
    assert "move the course" in done.stderr


def test_without_a_wall_there_is_nothing_to_refuse(exposed):
    done = run(exposed, "nbmark", "grade", "toy", "--sandbox", "none")
    assert done.returncode == 0, done.stderr


def test_doctor_says_so(exposed, toy_course):
    for course, well in ((exposed, False), (toy_course, True)):
        done = run(course, "nbmark", "doctor", "--json")
        found = {one["subject"]: one for one in json.loads(done.stdout)}["place of the course"]
        assert found["well"] is well
        assert done.returncode == int(not well)
    assert "move the course" in run(exposed, "nbmark", "doctor").stdout


def test_a_worker_does_not_unpack_the_checks_there(toy_course):
    data = packed(Course(toy_course).assignment("toy"))
    with tempfile.TemporaryDirectory(prefix="worker-", dir=sys.prefix) as home:
        with (
            closing(MaterialCache()) as shelf,
            pytest.raises(SandboxUnavailable, match="another --local-directory"),
            shelf.checks("1", data, "toy", "bubblewrap", home, 1),
        ):
            pass
        assert not list(Path(home).iterdir())


def test_nobody_is_graded_on_a_cluster_whose_worker_would_unpack_them_there(toy_course):
    hand_in_toy(toy_course, "ada", RIGHT)
    with (
        tempfile.TemporaryDirectory(prefix="worker-", dir=sys.prefix) as home,
        closing(Dask(Path(home) / "dask")) as dask,
    ):
        dask.workers(1)
        done = run(toy_course, "nbmark", "grade", "toy", *dask.options())
        assert done.returncode == 1
        assert f"lies below {sys.prefix}" in done.stderr
        assert "another --local-directory" in done.stderr
        assert "Traceback" not in done.stderr
        assert dask.materials() == []
    assert dump(toy_course, "toy") == []


def test_the_environment_may_lie_in_the_course():
    assert visible_above(Path(sys.prefix).parent) is None
    assert visible_above(Path("/usr/src/app")) == Path("/usr")
    assert visible_above(Path("/lib/course")) == Path("/usr")
