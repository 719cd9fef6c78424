"""Courses to test on: real folders, real gradebooks, made once and copied."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session", autouse=True)
def _own_jupyter(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing of this machine's Jupyter is read or written."""
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        os.environ[name] = str(tmp_path_factory.mktemp(name.lower()))
    os.environ["COLUMNS"] = "200"


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of this environment, run in a folder; its output is text."""
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=folder, text=True, capture_output=True,
        check=False, env={**os.environ, **environment},
    )  # fmt: skip


def new_course(folder: Path, material: Path, assignment: str) -> Path:
    """A course with the material of one assignment, released and known to the gradebook."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("source", "graders"):
        shutil.copytree(material / name, folder / name)
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    done = run(folder, "nbgrader", "generate_assignment", assignment, "--force")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def mse_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course with `mse`, tried on its own answers once."""
    folder = new_course(tmp_path_factory.mktemp("mse"), ROOT, "mse")
    done = run(folder, "nbmark", "verify", "mse", "--json")
    assert done.returncode == 0, done.stderr
    (folder / "verify.json").write_text(done.stdout)
    return folder


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
