"""Promises of the repository itself: imports run one way, the release is fresh, docs are true."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nbmark
from conftest import ASSIGNMENTS, ROOT, run

# A module may import only modules of earlier lines.
LAYERS = """
    _version errors slim_nbgrader
    safetext
    limits models plain safefiles safehtml versions
    questions notebooks wire imports budget inside
    identity outputs student checks course scoring
    processes seccomp
    drivers watchdog
    session bare bubblewrap
    forkserver
    sandboxes
    supply
    troubles
    notebookrun
    runner evidence feedback submissions replay
    pytest_plugin
    checking
    checkrequests
    checkprocess trials
    checkpool
    materials
    cluster_connection cluster_work
    cluster
    verify doctor
    gradebook_rows
    gradebook
    collect exporters records
    grading
    regrading
    nbgrader_plugins report oneline options
    jobs
    cli
"""
ORDER = {
    word: number for number, line in enumerate(LAYERS.strip().splitlines()) for word in line.split()
}
ONLY = {
    "nbgrader.api": {"gradebook", "gradebook_rows"},
    "pyseccomp": {"seccomp"},
    "bleach": {"safehtml"},
    "psutil": {"processes"},
    "rich": {"report"},
    "distributed": {"cluster", "cluster_connection", "cluster_work"},
    "click": {"cli", "oneline", "options"},
}
# Imported inside a function: where one layer hands over to another at run time.
LATE = {("pytest_plugin", "checking"), ("checkprocess", "checking")}


def modules() -> list[Path]:
    return [
        path
        for path in (ROOT / "src" / "nbmark").rglob("*.py")
        if path.name != "__init__.py" or path.parent.name == "sandboxes"
    ]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
    return found


def stem(path: Path) -> str:
    return path.parent.name if path.stem == "__init__" else path.stem


@pytest.mark.parametrize("path", modules(), ids=stem)
def test_imports_run_one_way(path):
    here = stem(path)
    if path.parent.name == "inside":
        assert not any(one.startswith("nbmark") for one in imports(path))
        return
    for one in imports(path):
        there = one.split(".")[-1]
        if (
            one.startswith("nbmark.")
            and there in ORDER
            and there != here
            and (here, there) not in LATE
        ):
            assert ORDER[there] < ORDER[here], f"{here} imports {there}"
        for library, allowed in ONLY.items():
            if one == library or one.startswith(library + "."):
                assert here in allowed, f"{here} imports {library}"


def test_every_module_has_its_layer():
    assert {stem(path) for path in modules() if path.parent.name != "inside"} <= set(ORDER)


def test_the_public_names_are_these():
    assert nbmark.__all__ == [
        "Answer",
        "CheckFailed",
        "Expr",
        "Student",
        "__version__",
        "approx",
        "check",
        "fail",
        "name",
    ]
    assert all(hasattr(nbmark, one) for one in nbmark.__all__)


def test_the_gradebook_is_loaded_without_what_it_does_not_need():
    script = """
import sys
from nbmark.gradebook.gradebook import parse_timestamp
import nbmark.commands.cli
unused = {'numpy', 'pytest', 'requests', 'setuptools', 'zmq', 'jupyter_server', 'nbconvert'}
assert not unused & set(sys.modules), unused & set(sys.modules)
import nbgrader.utils, requests, setuptools, idna
assert nbgrader.utils.unpack_archive.__name__ == 'call'
try:
    nbgrader.utils.unpack_archive('missing.zip', '.')
except FileNotFoundError:
    sys.exit(0)"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_graders_import_only_the_public_api():
    for path in (ROOT / "graders").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nbmark"):
                assert node.module == "nbmark"
                assert {one.name for one in node.names} <= set(nbmark.__all__)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_the_release_is_what_nbgrader_makes_of_the_source_today(course_template, assignment):
    fresh, committed = (
        {path.name: path.read_bytes() for path in (root / "release" / assignment).iterdir()}
        for root in (course_template, ROOT)
    )
    assert committed == fresh


def test_no_path_of_a_machine_and_no_index_is_committed():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split("\n"):
        path = ROOT / name
        if name and path.is_file() and path.suffix not in (".png",):
            text = path.read_text()
            assert ("index" + "-url") not in text.replace("--no-emit-index" + "-url", ""), name
            assert ("/work" + "/main") not in text, name


def test_documents_name_only_files_that_exist():
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), (page.name, link)


def test_every_command_and_limit_is_documented():
    from dataclasses import fields

    from nbmark.limits import Limits

    text = "\n".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    for one in fields(Limits):
        assert f"`{one.name}`" in text, one.name
    done = run(ROOT, "nbmark", "--help")
    for command in re.findall(r"^  (\w+)  ", done.stdout, re.M):
        assert f"nbmark {command}" in text + (ROOT / "README.md").read_text()


def test_the_wheel_holds_nothing_of_the_graders(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    import zipfile

    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert any(one == "nbmark/inside/agent.py" for one in names)
    assert not any("graders" in one or "test_mse" in one for one in names)
