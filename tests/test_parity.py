"""Our kernel behaves like Jupyter's: the same cells show the same outputs, errors and names."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import both_kernels
import pytest

from conftest import ROOT, new_course, run
from helpers import SMALL, output_of
from nbmark.course.course import Course
from nbmark.limits import Limits
from nbmark.models import Submission
from nbmark.sandbox.session import Session
from nbmark.sandbox.supply import SessionSource
from nbmark.workers.pool import CheckPool

FILES = sorted(path.stem for path in (both_kernels.HERE / "cells").glob("*.txt"))
WINDOWS = ("windows", "before-pyplot")  # compared with pictures, not with windows
IMPORTS = ["numpy", "matplotlib.pyplot"]  # loaded before the fork, as for most assignments
HANDINS = ROOT / "tests" / "handins"
WITH_MAGICS = ("inline-by-call", "inline-in-imports", "pylab", "pip-install")


@contextlib.contextmanager
def open_session(imports: list[str] | None, limits: Limits | None = None) -> Iterator[Session]:
    """Open a session: a forked child if there are libraries to load, else a process of its own."""
    with (
        closing(SessionSource("bubblewrap", limits or Limits(), imports)) as source,
        closing(source.open()) as session,
    ):
        yield session


def compare(file: str, cells: dict[str, str], in_jupyter: dict[str, str], session: Session) -> None:
    """Run cells in our kernel and in Jupyter's, and compare them but for the listed differences."""
    # A short path, because Python breaks the lines of a value that holds a long one.
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as threads:
        work = Path(folder) / "work"
        work.mkdir()
        running = threads.submit(both_kernels.run_stock, in_jupyter, work)
        ours = both_kernels.run_ours(cells, session)
        stock = running.result()
    assert session.ended is None
    listed = {row.cell: row for row in both_kernels.read_differences() if row.file == file}
    differing = {name: (ours[name], stock[name]) for name in cells if ours[name] != stock[name]}
    unlisted = {name: pair for name, pair in differing.items() if name not in listed}
    assert unlisted == {}
    assert set(listed) == set(differing), "a listed difference exists no longer"
    for name, row in listed.items():
        assert row.ours in "\n".join(ours[name].outputs), (file, name)


@pytest.mark.parametrize("file", [file for file in FILES if file not in WINDOWS])
def test_cells_behave_as_in_jupyter(file):
    cells = both_kernels.read_cells(file)
    with open_session(IMPORTS) as session:
        compare(file, cells, cells, session)


@pytest.mark.parametrize("file", ["history", "pylab"])
def test_cells_behave_as_in_jupyter_without_a_fork_server(file):
    cells = both_kernels.read_cells(file)
    with open_session(None) as session:
        compare(file, cells, cells, session)


def test_every_magic_of_the_shell_behaves_as_in_jupyter():
    with open_session(IMPORTS) as session:
        cells = both_kernels.cells_of_all_magics(session)
    assert len(cells) > 100
    with open_session(IMPORTS) as session:
        compare("every magic", cells, cells, session)


@pytest.mark.parametrize("imports", [IMPORTS, None], ids=["forked", "started"])
@pytest.mark.parametrize("file", WINDOWS)
def test_windows_become_the_pictures_that_inline_shows(file, imports):
    cells = both_kernels.read_cells(file)
    with open_session(imports) as session:
        compare(file, cells, both_kernels.with_pictures(cells), session)


def test_hundreds_of_cells_are_compared_and_few_differ():
    cells = [name for file in FILES for name in both_kernels.read_cells(file)]
    assert len(cells) > 900
    assert len(both_kernels.read_differences()) < 20


@pytest.mark.parametrize("imports", [["numpy"], None], ids=["forked", "started"])
def test_results_are_kept_until_they_would_fill_the_memory(imports):
    with open_session(imports, replace(SMALL, memory_mib=600)) as session:
        session.run_cell("import numpy as np", 20)
        session.run_cell("'the first result'", 5)
        assert output_of(session, "print(_2)") == "the first result"
        for _ in range(12):
            # Twelve results of 80 MB would exceed the limit.
            assert session.run_cell("np.ones(10_000_000)", 20).status == "ok"
        assert output_of(session, "print(_.shape, __.shape, len(Out) < 12)") == (
            "(10000000,) (10000000,) True"
        )


@pytest.mark.parametrize("imports", [["numpy"], None], ids=["forked", "started"])
def test_the_user_is_called_jovyan_so_nbgrader_takes_the_hubs_name(imports):
    code = """
import getpass, grp, os, pwd
from nbgrader.utils import get_username
account = pwd.getpwuid(os.getuid())
print(getpass.getuser(), account.pw_name, account.pw_dir, grp.getgrgid(os.getgid()).gr_name,
      os.environ['HOME'], os.environ['USER'], os.path.expanduser('~'), get_username())"""
    with open_session(imports) as session:
        session.furnish({}, {"JUPYTERHUB_USER": "ada"})
        assert output_of(session, code) == "jovyan jovyan /work jovyan /work jovyan /work ada"
        assert output_of(session, "print(open('/etc/passwd').read().count(':/'))") == "4"
        assert output_of(session, "open('/etc/passwd', 'a')") in ("OSError", "PermissionError")


@pytest.mark.parametrize("code", ["%pip install -q seaborn", "!pip3 install seaborn"])
def test_installing_fails_at_once_and_says_that_there_is_no_network(code):
    with open_session(None) as session:
        run_cell = session.run_cell(code, 15)
        assert "there is no network" in str(run_cell.outputs)
        assert "Retrying" not in str(run_cell.outputs)
        # A library that is there already needs no network.
        present = session.run_cell("!pip install numpy", 15)
        assert "already satisfied" in str(present.outputs)
        assert "no network" not in str(present.outputs)


@pytest.mark.parametrize(
    "code", ["input()", "import getpass; getpass.getpass()", "import pdb; pdb.set_trace(); x = 1"]
)
def test_nobody_types(code):
    with open_session(None) as session:
        run_cell = session.run_cell(code, 5)
        assert run_cell.error_name == "StdinNotImplementedError"
        assert output_of(session, "print('goes on')") == "goes on"


def test_a_file_beside_the_notebook_does_not_replace_a_module_of_python():
    with open_session(None) as session:
        session.furnish({"statistics.py": b"mean = 5", "mine.py": b"a = 5"}, {})
        assert output_of(
            session, "import mine, statistics; print(mine.a, statistics.mean([1]))"
        ) == ("5 1")


def test_an_interrupted_await_is_a_timeout_and_the_next_cell_runs():
    with open_session(None) as session:
        code = "import asyncio\ntry:\n    await asyncio.sleep(60)\nfinally:\n    ended = True"
        assert session.run_cell(code, 1).status == "timeout"
        assert output_of(session, "print(ended)") == "True"


@pytest.fixture(scope="module")
def graded_handins(course_template):
    """Return what each hand-in earned and showed, by the name of its folder."""
    notebooks = {
        name: (HANDINS / name / "files" / "mse.ipynb").read_bytes() for name in WITH_MAGICS
    }
    with closing(
        CheckPool(Course(course_template).assignment("mse"), "bubblewrap", 2)
    ) as processes:
        return {
            name: processes.grade(Submission("ada", {"mse": notebook}, name, b"seed"))
            for name, notebook in notebooks.items()
        }


@pytest.mark.parametrize("name", WITH_MAGICS)
def test_magics_cost_no_points(graded_handins, name):
    results = graded_handins[name].results
    assert [result for result in results if result.outcome != "passed"] == []
    assert sum(result.check.points for result in results) == 18


def test_an_assignment_may_use_matplotlib_inline(tmp_path):
    material = tmp_path / "material"
    new_course(material, ROOT / "tests" / "toy")
    path = material / "source" / "toy" / "toy.ipynb"
    notebook = json.loads(path.read_text())
    first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    first["source"] = ["%matplotlib inline\n", *first["source"]]
    path.write_text(json.dumps(notebook))
    course = new_course(tmp_path / "course", material, "toy")
    completed = run(course, "nbmark", "verify", "toy")
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_a_cell_that_keeps_every_file_open_does_not_fail_the_next_one():
    with open_session(None) as session:
        session.run_cell("kept = []\nwhile True: kept.append(open('/dev/null'))", 20)
        assert session.run_cell("1 + 1", 5).status == "ok"
