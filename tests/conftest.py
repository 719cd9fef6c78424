"""Fixtures: courses with real folders and real gradebooks, made once and copied for each test."""

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
COURSE_ID = "curve-fitting"


@pytest.fixture(scope="session", autouse=True)
def _own_jupyter(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tests away from the settings and the data of this machine's own Jupyter."""
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        os.environ[name] = str(tmp_path_factory.mktemp(name.lower()))
    os.environ["COLUMNS"] = "200"  # so that no table breaks a line that a test looks for


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of this Python environment in a folder, and return its output as text."""
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )


def new_course(folder: Path, material: Path, *assignments: str) -> Path:
    """Make a course with these assignments, released and entered into the gradebook."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("source", "graders"):
        shutil.copytree(material / name, folder / name)
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    for assignment in assignments:
        completed = run(folder, "nbgrader", "generate_assignment", assignment, "--force")
        assert completed.returncode == 0, completed.stderr
    return folder


@pytest.fixture
def exchange(tmp_path: Path) -> Path:
    """Make an empty exchange that everybody may write to."""
    folder = tmp_path / "exchange"
    for name in ("inbound", "outbound", "feedback"):
        (folder / COURSE_ID / name).mkdir(parents=True)
    folder.chmod(0o777)
    return folder


@pytest.fixture(scope="session")
def course_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the whole course, freshly released and entered into the gradebook."""
    return new_course(tmp_path_factory.mktemp("whole"), ROOT, *ASSIGNMENTS)


@pytest.fixture(scope="session")
def verified() -> dict[str, Any]:
    """Return the JSON of ``nbmark verify --all``, its exit status, and the course it ran on."""
    stdout, _ = VERIFYING["process"].communicate()
    returncode = VERIFYING["process"].returncode
    return {**json.loads(stdout), "returncode": returncode, "course": VERIFYING["course"]}


VERIFYING: dict[str, Any] = {}  # the process and its course, if a test needs the result


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start verifying the whole course beside the other tests, because it takes 15 minutes."""
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
    """Stop the verification however the tests ended: normally, by a failure or by Ctrl-C."""
    if VERIFYING:
        VERIFYING["process"].terminate()
        VERIFYING["process"].wait()
        shutil.rmtree(VERIFYING["course"], ignore_errors=True)


@pytest.fixture(scope="session")
def toy_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a course with the smallest assignment, already verified."""
    folder = new_course(tmp_path_factory.mktemp("toy"), ROOT / "tests" / "toy", "toy")
    completed = run(folder, "nbmark", "verify", "toy")
    assert completed.returncode == 0, completed.stderr
    return folder


@pytest.fixture
def toy_course(toy_template: Path, tmp_path: Path) -> Path:
    """Return a course with the smallest assignment and no submissions."""
    return Path(shutil.copytree(toy_template, tmp_path / "course"))
