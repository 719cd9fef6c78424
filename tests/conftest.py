"""Courses to test on: real folders, real gradebooks, made once and copied."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ASSIGNMENTS = sorted(path.name for path in (ROOT / "source").iterdir())


@pytest.fixture(scope="session", autouse=True)
def _own_jupyter(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing of this machine's Jupyter is read or written."""
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        os.environ[name] = str(tmp_path_factory.mktemp(name.lower()))
    os.environ["COLUMNS"] = "200"


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of this environment, run in a folder; its output is text."""
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )


def new_course(folder: Path, material: Path, *assignments: str) -> Path:
    """A course with some assignments, released and known to the gradebook."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("source", "graders"):
        shutil.copytree(material / name, folder / name)
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    for assignment in assignments:
        done = run(folder, "nbgrader", "generate_assignment", assignment, "--force")
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def course_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole course, released anew and known to the gradebook."""
    return new_course(tmp_path_factory.mktemp("whole"), ROOT, *ASSIGNMENTS)


@pytest.fixture(scope="session")
def verified() -> dict[str, Any]:
    """What ``nbmark verify --all --json`` says of the whole course, and where its records are."""
    stdout, _ = VERIFYING["process"].communicate()
    returncode = VERIFYING["process"].returncode
    return {**json.loads(stdout), "returncode": returncode, "course": VERIFYING["course"]}


VERIFYING: dict[str, Any] = {}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Trying the whole course takes a quarter of an hour: it runs beside the other tests."""
    if not any("verified" in getattr(item, "fixturenames", ()) for item in session.items):
        return
    course = Path(tempfile.mkdtemp(prefix="nbmark-verified-"))
    for name in ("source", "graders", "release"):
        shutil.copytree(ROOT / name, course / name)
    VERIFYING["course"] = course
    VERIFYING["process"] = subprocess.Popen(
        [str(BIN / "nbmark"), "verify", "--all", "--json"],
        cwd=course,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "200"},
    )


def pytest_sessionfinish() -> None:
    """Whatever ended the tests ends that too."""
    if VERIFYING:
        VERIFYING["process"].terminate()
        VERIFYING["process"].wait()
        shutil.rmtree(VERIFYING["course"], ignore_errors=True)


@pytest.fixture(scope="session")
def toy_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course with the smallest assignment, tried on its own answers once."""
    folder = new_course(tmp_path_factory.mktemp("toy"), ROOT / "tests" / "toy", "toy")
    done = run(folder, "nbmark", "verify", "toy")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def toy_course(toy_template: Path, tmp_path: Path) -> Path:
    """A course with the smallest assignment and nobody's work."""
    return Path(shutil.copytree(toy_template, tmp_path / "course"))
