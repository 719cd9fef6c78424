"""The course is right: its numbers, coverage of the chapter, names, notebooks, personal data."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
from conftest import ASSIGNMENTS, ROOT, run

DOCS = (ROOT / "docs" / "course.md").read_text()
WITH_TENSORFLOW = ("autodiff", "computational-graph", "keras")


def cells_of(folder: str, assignment: str) -> list[dict[str, Any]]:
    """Return a notebook's cells, each with its source as one text."""
    path = ROOT / folder / assignment / f"{assignment}.ipynb"
    cells = json.loads(path.read_text())["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in cells]


def checks_of(assignment: str) -> dict[str, tuple[str, float]]:
    """Return check → its grade cell and points, read from the source of the checks."""
    path = next((ROOT / "graders" / assignment).glob("test_*.py"))
    checks = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            call = node.decorator_list[0]
            assert isinstance(call, ast.Call)
            options = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
            checks[node.name] = (ast.literal_eval(call.args[0]), options["points"])
    return checks


# Numbers ---------------------------------------------------------------------------------------

FAR = reference.descend(0, 139, 0.0004, 80_000)
BOWL = reference.bowl_data()
Z = reference.standardised()
WOMAN = reference.backprop(0, 139, 58, 153)
LINE = reference.closed_form(reference.AGE, reference.SBP)
EIGENVALUES = np.linalg.eigvalsh(reference.hessian())
ANCHORS = {
    "RSS of five": (reference.rss(1, 100, 5), 1586),
    "MSE of five": (reference.mse(1, 100, 5), 317.2),
    "root of five": (reference.mse(1, 100, 5) ** 0.5, 17.8101),
    "MSE at (1, 100) and (0, 139)": (
        [reference.mse(1, 100), reference.mse(0, 139)],
        [408.151515, 673.454545],
    ),
    "closed form": ([*LINE, reference.mse(*LINE)], [1.1050217253, 87.6714222456, 349.2008727856]),
    "best slope for b = 87.6": (reference.best_a_1d(), 1.1063985004),
    "curvature and rates": (
        [reference.curvature_1d(), 2 / reference.curvature_1d(), 1 / reference.curvature_1d()],
        [4785.212121, 0.000417954304, 0.000208977152],
    ),
    "creeps": (reference.descend_1d(0.5, 0.0001, 5)[1:], [0.7902, 0.9415, 1.0204, 1.0616, 1.0830]),
    "overshoots": (
        reference.descend_1d(0.5, 0.0003, 5)[1:],
        [1.3705, 0.9914, 1.1565, 1.0846, 1.1159],
    ),
    "diverges": (
        reference.descend_1d(0.5, 0.00045, 5)[1:],
        [1.8058, 0.2998, 2.0367, 0.0334, 2.3439],
    ),
    "diverging losses": (
        [reference.loss_1d(a) for a in reference.descend_1d(0.5, 0.00045, 5)],
        [1229.0, 1519.5, 1906.0, 2420.0, 3103.8, 4013.4],
    ),
    "steps by rate": (
        [reference.steps_needed_1d(eta) for eta in (1e-5, 5e-5, 1e-4, 2e-4, 3e-4, 4e-4)],
        [140, 26, 11, 3, 9, 77],
    ),
    "gradient at (0, 139)": (reference.gradient(0, 139), [-553.090909, 0.727273]),
    "one step": (FAR[1], [0.221236, 138.999709]),
    "5 000 steps": ([*FAR[5000], reference.mse(*FAR[5000])], [0.470034, 120.610815, 469.573]),
    "10 000 steps": ([*FAR[10_000], reference.mse(*FAR[10_000])], [0.697545, 108.808897, 398.7688]),
    "80 000 steps": (FAR[80_000], [1.1042036, 87.7138625]),
    "steps in the canyon": (
        reference.first_within(reference.losses_along(FAR), reference.mse(*LINE)),
        70_926,
    ),
    "bowl": (
        [*reference.closed_form(*BOWL), reference.loss_of(3, 3, *BOWL)],
        [1.1030756455, 1.0410217388, 6.1589265512],
    ),
    "bowl after 20 steps": (reference.descend(3, 3, 0.1, 20, *BOWL)[-1], [1.194994, 1.117512]),
    "steps in the bowl": (
        reference.first_within(
            reference.losses_along(reference.descend(3, 3, 0.1, 60, *BOWL), *BOWL),
            reference.loss_of(*reference.closed_form(*BOWL), *BOWL),
        ),
        28,
    ),
    "Hessian": ([*EIGENVALUES, EIGENVALUES[1] / EIGENVALUES[0]], [0.221801, 4786.990, 21_582]),
    "steps standardised": (
        reference.first_within(
            reference.losses_along(
                reference.descend(0, 139, 0.1, 60, Z, reference.SBP), Z, reference.SBP
            ),
            reference.mse(*LINE),
        ),
        29,
    ),
    "momentum and Adam": (
        [
            reference.first_within(reference.losses_along(path), reference.mse(*LINE))
            for path in (
                reference.momentum_path(0.9, 0.0004, 7100),
                reference.momentum_path(0.99, 0.0004, 1100),
                reference.adam_path(0.1, 1500),
                reference.adam_path(1.0, 400),
            )
        ],
        [7042, 1019, 1458, 328],
    ),
    "RMSProp's floor": (
        reference.mse(*reference.rmsprop_path(0.01, 20_000)[-1]) - reference.mse(*LINE),
        0.0621462,
    ),
    "woman 15": (
        [WOMAN[node] for node in ("ax", "abx", "r", "s", "mse", "ds_dr", "grad_b", "grad_a")],
        [0, 139, -14, 196, 196, -28, -28, -1624],
    ),
}


@pytest.mark.parametrize("name", ANCHORS)
def test_the_reference_reproduces_the_anchor_numbers(name):
    computed, published = ANCHORS[name]
    assert np.ravel(computed) == pytest.approx(np.ravel(published), rel=1e-4, abs=6e-5)


def test_three_batches_have_the_gradients_of_the_chapter():
    batches = [np.arange(start, start + 11) for start in (0, 11, 22)]
    computed = [
        reference.gradient(0, 139, reference.AGE[rows], reference.SBP[rows]) for rows in batches
    ]
    published = [(734.545, 20.364), (188.545, 12.909), (-2582.364, -31.091)]
    assert np.array(computed) == pytest.approx(np.array(published), abs=1e-3)
    assert np.mean(computed, axis=0) == pytest.approx(reference.gradient(0, 139))


# Coverage --------------------------------------------------------------------------------------

ITEMS = [
    "table 3.1",
    *(f"listing 3.{n}" for n in range(1, 8)),
    *(f"figure 3.{n}" for n in range(1, 14)),
    *(f"equation 3.{n}" for n in range(1, 4)),
    *(f"exercise {n}" for n in range(1, 4)),
    "derivation box",
    *(f"practice box {n}" for n in range(1, 7)),
]


@pytest.mark.parametrize("item", ITEMS)
def test_every_item_of_the_chapter_has_a_task_and_a_check(item):
    rows = [line for line in DOCS.splitlines() if re.match(rf"\| {item}\b(?!\d)", line)]
    assert len(rows) == 1
    _, _, assignment_column, check_column, _ = rows[0].split("|")
    assignments = re.findall(r"`([a-z-]+)`", assignment_column)
    assert assignments
    if item == "figure 3.9":  # belongs to an optional section, which is not graded
        assert "two minima" in json.dumps(cells_of("release", assignments[0]))
        return
    checks = re.findall(r"`(test_\w+)`", check_column)
    assert checks
    for check in checks:
        assert any(check in checks_of(assignment) for assignment in assignments), check


# Names and points ------------------------------------------------------------------------------


def names_in_checks(assignment: str) -> set[str]:
    """Return every name of the student's notebook that a check asks for."""
    text = next((ROOT / "graders" / assignment).glob("test_*.py")).read_text()
    question = r'(?:student\.(?:value|number|array|call|map)|Picture)\((?:student, )?"(\w+)"'
    return set(re.findall(question, text))


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_every_name_that_a_check_asks_for_is_in_the_notebook_and_the_table(assignment):
    cells = cells_of("release", assignment)
    text = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
    table = DOCS[DOCS.index(f"| `{assignment}` | 1 ") :].split("10 `written`")[0]
    names = names_in_checks(assignment) - {"run_program"}
    assert len(names) >= 5
    for name in names:
        assert re.search(rf"`{name}\b", text), f"{name} is not in the notebook's text"
        assert re.search(rf"`{name}\b", table), f"{name} is not in docs/course.md"


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_points_add_up_to_20_in_cells_checks_and_the_students_table(assignment):
    cells = cells_of("source", assignment)
    metadata = [cell["metadata"].get("nbgrader", {}) for cell in cells]
    grade_cells = {cell["grade_id"]: cell["points"] for cell in metadata if cell.get("grade")}
    assert sum(grade_cells.values()) == 20
    assert 6 <= len(grade_cells) <= 10 + (assignment == "mse")
    checked: dict[str, float] = {}
    for cell, points in checks_of(assignment).values():
        checked[cell] = checked.get(cell, 0) + points
    assert checked == {cell: points for cell, points in grade_cells.items() if cell != "written"}
    table = re.findall(r"^\| \d+ .*\| ([\d.]+) \|$", cells[1]["source"], re.M)
    assert [float(points) for points in table] == list(grade_cells.values())


# These checks set ever lower limits for one search, so an answer that misses an easy limit misses
# the harder ones too.
NESTED = {
    "test_search_below_408": {"test_search_below_375"},
    "test_search_below_375": {"test_search_below_352"},
    "test_search_below_352": {"test_search_below_349_5"},
}


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_each_check_is_the_only_one_that_some_wrong_answer_fails(assignment):
    failed_checks = [
        {loss["check"] for loss in tomllib.loads(path.read_text())["loses"]}
        for path in (ROOT / "graders" / assignment / "wrong").glob("*.toml")
    ]
    for check in checks_of(assignment):
        alone, harder = {check}, NESTED.get(check, set())
        while harder:
            alone |= harder
            harder = set().union(*(NESTED.get(nested, set()) for nested in harder))
        assert alone in failed_checks, check


# Notebooks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_a_notebook_has_every_section_from_its_goals_to_the_glossary(assignment):
    cells = cells_of("release", assignment)
    text = " ".join(cell["source"] for cell in cells)
    for phrase in (
        "You will learn to",
        "You need",
        "Time",
        "Do not round",
        "kernel dies",
        "Work together",
        "Points",
        "In your own words",
        "What to remember",
        "Glossary",
        "picture in words" if assignment == "mse" else "in words",
    ):
        assert phrase in text, phrase
    headings = [
        len(line) - len(line.lstrip("#"))
        for cell in cells
        if cell["cell_type"] == "markdown"
        for line in cell["source"].splitlines()
        if line.startswith("#")
    ]
    assert headings[0] == 1
    assert set(headings[1:]) == {2}


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_no_cell_of_a_release_needs_scrolling(assignment):
    for cell in cells_of("release", assignment):
        lines = cell["source"].splitlines()
        if cell["cell_type"] == "code":
            assert len(lines) <= 40, cell["source"][:80]
            assert max(map(len, lines)) <= 104, max(lines, key=len)


SECRETS = [
    *("BEGIN SOLUTION", "MARK SCHEME", "Full:"),
    *"349.49 349.2 1.1050 1.1042 1.10307 87.67 87.714 0.4700 120.61 121.94 673.4 18.003".split(),
    *("21582", "4787", "0.2218", "70926", "70 926", "71 thousand", "-28"),
]


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_a_release_holds_no_solution_and_no_expected_number(assignment):
    text = (ROOT / "release" / assignment / f"{assignment}.ipynb").read_text()
    assert not [secret for secret in SECRETS if secret in text]
    assert not [check for check in checks_of(assignment) if check in text]


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_a_release_imports_only_the_libraries_of_the_course(assignment):
    cells = cells_of("release", assignment)
    code = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "code")
    imported = set(re.findall(r"^(?:import|from) (\w+)", code, re.M))
    allowed = {"matplotlib", "numpy", "time"}
    allowed |= {"quiet_tensorflow"} if assignment in WITH_TENSORFLOW else set()
    allowed |= {"personal"} if assignment == "local-gradients" else set()
    assert imported <= allowed


def test_the_quiet_import_of_tensorflow_is_the_same_everywhere():
    paths = [ROOT / "source" / assignment for assignment in WITH_TENSORFLOW]
    assert len({(path / "quiet_tensorflow.py").read_text() for path in paths}) == 1


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_validate_passes_with_the_solutions_and_fails_politely_without(
    course_template, tmp_path, assignment
):
    for folder, verdict in (("source", "success"), ("release", "failed")):
        copy = Path(shutil.copytree(course_template / folder / assignment, tmp_path / folder))
        command = ["nbgrader", "validate", f"{assignment}.ipynb"]
        completed = run(copy, *command, JUPYTERHUB_USER="ada")
        text = completed.stdout + completed.stderr
        assert completed.returncode == 0
        assert verdict in text.lower(), text
        assert "Internal error" not in text


# Personal numbers ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def personal() -> Any:
    """Import the module that draws a student's patient, from beside the notebook."""
    path = ROOT / "source" / "local-gradients" / "personal.py"
    spec = importlib.util.spec_from_file_location("personal", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_notebook_and_the_checks_draw_the_same_patient(personal):
    for number in range(300):
        assert personal.patient(f"student-{number}") == reference.patient(f"student-{number}")


# Account, user of the hub, id in the notebook → the id that the patient is drawn for.
IDS = {
    "in a container of JupyterHub": ("jovyan", "zoe", "", "zoe"),
    "in a container without names": ("", "zoe", "", "zoe"),
    "on The Littlest JupyterHub": ("jupyter-zoe", "zoe", "", "jupyter-zoe"),
    "at home": ("lukas", None, "zoe", "zoe"),
    "at home, then on the hub": ("jovyan", "zoe2", " zoe ", "zoe"),
    "at home without an id": ("lukas", None, "", "nobody"),
    "with a number as id": ("lukas", None, 12345, "12345"),
}


@pytest.mark.parametrize("place", IDS)
def test_the_patient_is_drawn_for_the_id_under_which_nbgrader_submits(
    personal, monkeypatch, capsys, place
):
    account, hub_user, written, expected = IDS[place]
    monkeypatch.setattr(personal, "_account", lambda: account)
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    if hub_user is not None:
        monkeypatch.setenv("JUPYTERHUB_USER", hub_user)
    assert personal.student_id(written) == expected
    assert ("no id yet" in capsys.readouterr().out) == (expected == "nobody")


def test_students_have_different_patients_and_every_mistake_differs_from_the_answer():
    patients = {reference.patient(f"u{number}") for number in range(1000)}
    assert len(patients) > 990
    for age, pressure, a, b in patients:
        assert 20 <= age <= 80
        assert 95 <= pressure <= 195
        right = reference.backprop(a, b, age, pressure)
        r, grad_b, grad_a = right["r"], right["grad_b"], right["grad_a"]
        for answer, mistakes in [
            (r, [-r]),
            (r**2, [r**2 / 2, r]),
            (grad_b, [-grad_b, grad_b / 2, grad_b * age]),
            (grad_a, [-grad_a, grad_a / 2, grad_b]),
        ]:
            values = [answer, *mistakes]
            for i, value in enumerate(values):
                assert all(abs(value - other) > 0.01 * abs(value) for other in values[:i])
