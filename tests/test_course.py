"""The course itself: numbers, coverage of the chapter, names, notebooks, personal data."""

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


def notebook(folder: str, assignment: str) -> list[dict[str, Any]]:
    found = json.loads((ROOT / folder / assignment / f"{assignment}.ipynb").read_text())
    return [{**cell, "source": "".join(cell["source"])} for cell in found["cells"]]


def checks_of(assignment: str) -> dict[str, tuple[str, float]]:
    """Check → its grade cell and points, read from the source."""
    path = next((ROOT / "graders" / assignment).glob("test_*.py"))
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            call = node.decorator_list[0]
            assert isinstance(call, ast.Call)
            points = {one.arg: ast.literal_eval(one.value) for one in call.keywords}["points"]
            found[node.name] = (ast.literal_eval(call.args[0]), points)
    return found


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
        [WOMAN[one] for one in ("ax", "abx", "r", "s", "mse", "ds_dr", "grad_b", "grad_a")],
        [0, 139, -14, 196, 196, -28, -28, -1624],
    ),
}


@pytest.mark.parametrize("name", ANCHORS)
def test_the_reference_reproduces_the_anchor_figures(name):
    found, wanted = ANCHORS[name]
    assert np.ravel(found) == pytest.approx(np.ravel(wanted), rel=1e-4, abs=6e-5)


def test_three_batches_have_the_gradients_of_the_chapter():
    rows = [np.arange(start, start + 11) for start in (0, 11, 22)]
    found = [reference.gradient(0, 139, reference.AGE[k], reference.SBP[k]) for k in rows]
    wanted = [(734.545, 20.364), (188.545, 12.909), (-2582.364, -31.091)]
    assert np.array(found) == pytest.approx(np.array(wanted), abs=1e-3)
    assert np.mean(found, axis=0) == pytest.approx(reference.gradient(0, 139))


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
    _, _, where, named, _ = rows[0].split("|")
    assignments = re.findall(r"`([a-z-]+)`", where)
    assert assignments
    if item == "figure 3.9":  # the optional section, not graded
        assert "two minima" in json.dumps(notebook("release", assignments[0]))
        return
    checks = re.findall(r"`(test_\w+)`", named)
    assert checks
    for check in checks:
        assert any(check in checks_of(one) for one in assignments), check


# Names and points ------------------------------------------------------------------------------


def asked_names(assignment: str) -> set[str]:
    """Every name of the notebook that a check asks for."""
    text = next((ROOT / "graders" / assignment).glob("test_*.py")).read_text()
    asked = r'(?:student\.(?:value|number|array|call|map)|Picture)\((?:student, )?"(\w+)"'
    return set(re.findall(asked, text))


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_every_name_a_check_asks_for_stands_in_notebook_and_table(assignment):
    text = "\n".join(
        c["source"] for c in notebook("release", assignment) if c["cell_type"] == "markdown"
    )
    table = DOCS[DOCS.index(f"| `{assignment}` | 1 ") :].split("10 `written`")[0]
    names = asked_names(assignment) - {"run_program"}
    assert len(names) >= 5
    for one in names:
        assert re.search(rf"`{one}\b", text), f"{one} is not in the notebook's text"
        assert re.search(rf"`{one}\b", table), f"{one} is not in docs/course.md"


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_points_add_up_to_20_in_cells_checks_and_the_students_table(assignment):
    cells = notebook("source", assignment)
    graded = {
        c["metadata"]["nbgrader"]["grade_id"]: c["metadata"]["nbgrader"]["points"]
        for c in cells
        if c["metadata"].get("nbgrader", {}).get("grade")
    }
    assert sum(graded.values()) == 20
    assert 6 <= len(graded) <= 10 + (assignment == "mse")
    by_cell: dict[str, float] = {}
    for cell, points in checks_of(assignment).values():
        by_cell[cell] = by_cell.get(cell, 0) + points
    assert by_cell == {cell: points for cell, points in graded.items() if cell != "written"}
    rows = re.findall(r"^\| \d+ .*\| ([\d.]+) \|$", cells[1]["source"], re.M)
    assert [float(one) for one in rows] == list(graded.values())


# One search, in steps: who misses an easier limit misses the harder ones too.
NESTED = {
    "test_search_below_408": {"test_search_below_375"},
    "test_search_below_375": {"test_search_below_352"},
    "test_search_below_352": {"test_search_below_349_5"},
}


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_each_check_is_the_only_one_that_some_near_miss_fails(assignment):
    found = [
        {one["check"] for one in tomllib.loads(path.read_text())["loses"]}
        for path in (ROOT / "graders" / assignment / "wrong").glob("*.toml")
    ]
    for check in checks_of(assignment):
        alone, harder = {check}, NESTED.get(check, set())
        while harder:
            alone |= harder
            harder = set().union(*(NESTED.get(one, set()) for one in harder))
        assert alone in found, check


# Notebooks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_a_notebook_opens_with_what_one_needs_and_ends_with_what_comes(assignment):
    cells = notebook("release", assignment)
    text = " ".join(cell["source"] for cell in cells)
    for word in (
        "You will learn to",
        "You need",
        "Time",
        "Do not round",
        "kernel dies",
        "Work together",
        "Points",
        "In your own words",
        "What you take with you",
        "Glossary",
        "picture in words" if assignment == "mse" else "in words",
    ):
        assert word in text, word
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
    for cell in notebook("release", assignment):
        lines = cell["source"].splitlines()
        if cell["cell_type"] == "code":
            assert len(lines) <= 40, cell["source"][:80]
            assert max(map(len, lines)) <= 104, max(lines, key=len)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_a_release_holds_no_solution_and_no_expected_number(assignment):
    text = (ROOT / "release" / assignment / f"{assignment}.ipynb").read_text()
    secrets = [
        "BEGIN SOLUTION",
        "MARK SCHEME",
        "Full:",
        "349.49",
        "1.1050",
        "87.67",
        "0.4700",
        "120.61",
        "1.1042",
        "87.714",
        "121.94",
        "21582",
        "4787",
        "0.2218",
        "1.10307",
        "70926",
        "70 926",
        "71 thousand",
        "349.2",
        "673.4",
        "-28",
        "18.003",
    ]
    assert not [one for one in secrets if one in text]
    assert not [one for one in checks_of(assignment) if one in text]


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_a_release_imports_what_the_course_says(assignment):
    code = "\n".join(
        cell["source"] for cell in notebook("release", assignment) if cell["cell_type"] == "code"
    )
    imported = set(re.findall(r"^(?:import|from) (\w+)", code, re.M))
    allowed = {"matplotlib", "numpy", "time"}
    allowed |= {"quiet_tensorflow"} if assignment in WITH_TENSORFLOW else set()
    allowed |= {"personal"} if assignment == "local-gradients" else set()
    assert imported <= allowed


def test_the_quiet_import_of_tensorflow_is_the_same_everywhere():
    texts = {(ROOT / "source" / one / "quiet_tensorflow.py").read_text() for one in WITH_TENSORFLOW}
    assert len(texts) == 1


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_validate_passes_with_the_solutions_and_fails_politely_without(
    course_template, tmp_path, assignment
):
    for folder, said in (("source", "Success"), ("release", "failed")):
        place = Path(shutil.copytree(course_template / folder / assignment, tmp_path / folder))
        done = run(place, "nbgrader", "validate", f"{assignment}.ipynb", JUPYTERHUB_USER="ada")
        text = done.stdout + done.stderr
        assert done.returncode == 0
        assert said.lower() in text.lower(), text
        assert "Internal error" not in text


# Personal numbers ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def personal() -> Any:
    path = ROOT / "source" / "local-gradients" / "personal.py"
    spec = importlib.util.spec_from_file_location("personal", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_notebook_and_check_draw_the_same_patient(personal, monkeypatch):
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    for number in range(300):
        assert personal.patient(f"student-{number}") == reference.patient(f"student-{number}")


def test_the_name_on_the_hub_beats_the_one_in_the_notebook(personal, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert personal.patient("ben") == reference.patient("ada") != reference.patient("ben")


def test_without_an_id_there_is_a_patient_for_practice(personal, monkeypatch, capsys):
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    assert personal.patient() == reference.patient("nobody")
    assert "no id yet" in capsys.readouterr().out


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
            for i, one in enumerate(values):
                assert all(abs(one - other) > 0.01 * abs(one) for other in values[:i])
