"""The repository keeps its promises: imports run one way, release and documents are up to date."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import nbmark
from conftest import ASSIGNMENTS, ROOT, run

TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
CONTRACTS = TOOLS["importlinter"]["contracts"]


def modules() -> list[Path]:
    return sorted((ROOT / "src" / "nbmark").rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, and what it imports from them, as dotted names."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_imports_keep_every_contract():
    completed = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout


def test_the_architecture_shows_the_order_of_the_contract():
    page = (ROOT / "docs" / "architecture.md").read_text()
    listing = re.search(r"<!-- layers -->\n```\n(.*?)```", page, re.S)
    assert listing, "docs/architecture.md has no list of layers"
    documented = [line.split("  ")[0].split() for line in listing[1].strip().splitlines()]
    order = next(c for c in CONTRACTS if c["name"] == "Imports run down this list")["layers"]
    assert documented == [layer.replace("|", " ").split() for layer in order]


def test_only_one_folder_opens_the_gradebook():
    for path in modules():
        opens = any(name.startswith("nbgrader.api") for name in imports(path))
        assert not opens or path.parent.name == "gradebook", path


def test_code_inside_the_sandbox_imports_only_its_own_folder_and_libraries():
    for path in (ROOT / "src" / "nbmark" / "sandbox" / "inside").rglob("*.py"):
        assert not any(name.startswith("nbmark") for name in imports(path)), path


def test_every_folder_documents_its_process_and_its_imports_and_holds_no_code():
    for path in (ROOT / "src" / "nbmark").rglob("__init__.py"):
        if path.parent.name == "nbmark":
            continue
        tree = ast.parse(path.read_text())
        assert len(tree.body) == 1, path
        docstring = " ".join((ast.get_docstring(tree) or "").split())
        if path.parent.name != "inside":
            assert re.search(r"\b[Rr]uns? (in|inside|these modules)\b", docstring), path
            assert "May import" in docstring, path


def test_every_error_is_defined_and_listed_in_one_module():
    import nbmark.errors

    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and path.name != "errors.py":
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                assert not any(hasattr(nbmark.errors, base) for base in bases), (path, node.name)
    listed = set(re.findall(r"^ *[*x-] (\w+)", nbmark.errors.__doc__ or "", re.M))
    defined = {
        name
        for name, value in vars(nbmark.errors).items()
        if inspect.isclass(value) and issubclass(value, nbmark.errors.NbmarkError)
    }
    assert listed == defined


def test_the_public_names_are_these():
    names = "Answer CheckFailed Expr Student __version__ approx check close fail name"
    assert nbmark.__all__ == names.split()
    assert all(hasattr(nbmark, name) for name in nbmark.__all__)


def test_the_gradebook_is_loaded_without_unused_libraries():
    script = """
import sys
from nbmark.gradebook.gradebook import CourseGradebook
import nbmark.grading.grade
import nbmark.commands.cli
unused = {'numpy', 'pytest', 'requests', 'setuptools', 'zmq', 'jupyter_server', 'nbconvert'}
assert not unused & set(sys.modules), unused & set(sys.modules)
import nbgrader.utils, requests, setuptools, idna
assert nbgrader.utils.unpack_archive.__name__ == 'call'
try:
    nbgrader.utils.unpack_archive('missing.zip', '.')
except FileNotFoundError:
    sys.exit(0)"""
    completed = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert completed.returncode == 0, completed.stderr.decode()


def test_graders_import_only_the_public_api():
    for path in (ROOT / "graders").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nbmark"):
                assert node.module == "nbmark"
                assert {alias.name for alias in node.names} <= set(nbmark.__all__)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_the_release_is_what_nbgrader_generates_from_the_source(course_template, assignment):
    fresh, committed = (
        {path.name: path.read_bytes() for path in (root / "release" / assignment).iterdir()}
        for root in (course_template, ROOT)
    )
    assert committed == fresh


def test_no_local_path_and_no_package_index_is_committed():
    git = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    # The two strings are put together here, so that this file does not contain them itself.
    for name in git.stdout.split("\n"):
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
    for limit in fields(Limits):
        assert f"`{limit.name}`" in text, limit.name
    completed = run(ROOT, "nbmark", "--help")
    for command in re.findall(r"^  (\w+)  ", completed.stdout, re.M):
        assert f"nbmark {command}" in text + (ROOT / "README.md").read_text()


def test_the_wheel_contains_the_package_and_no_graders(tmp_path):
    completed = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    import zipfile

    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert "nbmark/sandbox/inside/agent.py" in names
    assert not any("graders" in name or "test_mse" in name for name in names)
