"""Notebooks and answers that Hypothesis makes up, and what must come of them."""

from __future__ import annotations

import base64
import copy
import json
import random
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attacks
import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from nbmark.checks.declare import plain_data
from nbmark.checks.student import Student
from nbmark.errors import CheckFailed

IDS = ["number", "number-answer", "function", "array-answer", "later", "words", "setup", "x"]
CODE = [
    "a = 41.5731",
    "def f(x):\n    return 3 * x**2 - 2 * x",
    "v = np.arange(5)",
    "b = a",
    "1 / 0",
    "print('x' * 1000)",
    "raise SystemExit",
    "%%bash\necho x",
    "!ls",
    "import numpy as np",
    "del np",
    "display({'text/html': 3}, raw=True)",
    "a = b = v = f = object()",
    "?print",
    "\x00",
    "é = 1",
    "a = [1, [2, [3]]]",
    "lambda",
    "get_ipython().user_ns.clear()",
    "input('?')",
    "%lsmagic",
]
TEXT = st.text(max_size=30) | st.sampled_from(
    ["", "<script>", "\ud800", "\x1b[2J", "$\\href{a}{b}$"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
NBGRADER = st.fixed_dictionaries(
    {},
    optional={
        "grade_id": st.sampled_from(IDS) | JSON,
        "grade": st.booleans() | JSON,
        "solution": st.booleans() | JSON,
        "locked": st.booleans() | JSON,
        "points": JSON,
        "schema_version": st.integers(0, 5) | JSON,
        "task": JSON,
        "cell_type": JSON,
    },
)
METADATA = st.fixed_dictionaries({}, optional={"nbgrader": NBGRADER | JSON, "tags": JSON}) | JSON
SOURCES = st.sampled_from(CODE) | TEXT | st.lists(TEXT | JSON, max_size=3) | JSON
CELLS = st.fixed_dictionaries(
    {},
    optional={
        "cell_type": st.sampled_from(["code", "markdown", "raw"]) | JSON,
        "id": JSON,
        "metadata": METADATA,
        "source": SOURCES,
        "outputs": JSON,
        "attachments": JSON,
        "execution_count": JSON,
    },
)
KEEP = st.sampled_from(["keep", "keep", "drop", "twice", "change"])


@st.composite
def notebooks(draw: Callable[[Any], Any], released: Mapping[str, Any]) -> bytes:
    """A submission: the release with cells changed, dropped, doubled, moved and added, or not JSON."""
    notebook = copy.deepcopy(dict(released))
    cells: list[Any] = []
    for cell in notebook["cells"]:
        what = draw(KEEP)
        if what == "change":
            cell |= draw(CELLS)
        cells += [cell] * {"drop": 0, "twice": 2}.get(what, 1)
    cells += draw(st.lists(CELLS | JSON, max_size=3))
    notebook["cells"] = draw(st.permutations(cells)) if draw(st.booleans()) else cells
    if draw(st.integers(0, 4)) == 0:
        notebook |= draw(st.dictionaries(st.sampled_from(["cells", "metadata", "nbformat"]), JSON))
    data = json.dumps(notebook).encode()
    if draw(st.integers(0, 9)) == 0:
        cut = draw(st.integers(0, len(data)))
        data = data[:cut] + draw(st.binary(max_size=20)) + data[cut + draw(st.integers(0, 20)) :]
    return data


def made(strategy: st.SearchStrategy[bytes], number: int, start: int) -> list[bytes]:
    """So many examples; `start` decides which."""
    found: list[bytes] = []

    @seed(start)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(example: bytes) -> None:
        found.append(example)

    collect()
    return found


def grade_notebooks(course: Path, number: int, start: int) -> list[str]:
    """Grade so many made up notebooks as one class: what went wrong, one line each."""
    released = json.loads((course / "release" / "target" / "target.ipynb").read_text())
    examples = made(notebooks(released), number, start)
    for index, data in enumerate(examples):
        folder = course / "submitted" / f"fuzz-{start}-{index}" / "target"
        folder.mkdir(parents=True)
        (folder / "target.ipynb").write_bytes(data)
        (folder / "timestamp.txt").write_text(attacks.STAMP)
    done = subprocess.run(
        [attacks.BIN / "nbmark", "grade", "target", "--json"],
        cwd=course,
        text=True,
        capture_output=True,
        check=False,
    )
    if "Traceback" in done.stderr or not done.stdout:
        return [f"the batch was stopped: {done.stderr[-2000:]}"]
    rows = json.loads(done.stdout)["students"]
    troubles = [
        f"{row['student']}: {row['outcome']}: {row['trouble']}"
        for row in rows
        if row["outcome"] != "graded" and not row["trouble"].strip()
    ]
    troubles += [
        f"{row['student']}: {one['trace']}" for row in rows for one in row["checks"] if one["trace"]
    ]
    if len(rows) != len(examples):
        troubles.append(f"{len(examples)} notebooks, {len(rows)} rows")
    return troubles


VALID = [
    {"ok": 1.5},
    {"ok": {"float": "nan"}},
    {"ok": {"complex": [1.0, 2.0]}},
    {"ok": None},
    {"ok": {"list": [1, {"tuple": [2.0, "x"]}]}},
    {"ok": {"dict": [["a", 1], [2, {"list": []}]]}},
    {"ok": {"array": {"dtype": "<f8", "shape": [2], "data": base64.b64encode(bytes(16)).decode()}}},
    {"ok": {"scalar": {"dtype": "<i4", "data": base64.b64encode(bytes(4)).decode()}}},
    {"ok": {"object": {"type": "Model", "text": "<Model>"}}},
    {"error": {"kind": "too-large"}},
    {"error": {"kind": "missing-name", "name": "a"}},
    {"error": {"kind": "raised", "type": "E"}},
]
KEYS = [
    "ok",
    "error",
    "float",
    "complex",
    "list",
    "tuple",
    "dict",
    "array",
    "scalar",
    "object",
    "dtype",
    "shape",
    "data",
    "type",
    "text",
    "kind",
    "name",
    "",
]
LEAVES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    10**40,
    "",
    "nan",
    "<f8",
    "|O",
    "<U3",
    "f8,f8",
    "AAAA",
    "\ud800",
    "x" * 50,
    [],
    {},
    [[]],
    {"list": []},
    {"array": {}},
    {"dict": [[[], 1]]},
    {"float": "inf"},
    {"tuple": [{"scalar": {"dtype": "<f4", "data": "AAAAAA=="}}]},
    [2**63, -5],
    {"complex": [1]},
]
ALPHABET = '{}[]":,.-+e0123456789truefalsnl\\u<>f8bi=?'


def judge_answers(number: int, start: int) -> list[str]:
    """Decode and judge so many random and mutated answers: any error that is not the student's."""
    rng = random.Random(start)  # noqa: S311
    texts = [json.dumps(one) for one in VALID]
    troubles = []
    for _ in range(number):
        text = _mutated(rng, texts)
        student = Student("x", lambda question, text=text: text, 100_000)
        for judge in (_number, _array, _value, _comparison):
            try:
                judge(student)
            except (CheckFailed, AssertionError):
                continue
            except Exception as error:
                troubles.append(f"{type(error).__name__} {error} for {text[:200]!r}")
    return troubles


def _mutated(rng: random.Random, texts: list[str]) -> str:
    """Mostly a changed tree, which is still JSON; sometimes changed text or mere bytes."""
    kind = rng.random()
    if kind < 0.05:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(60))).decode(
            "utf-8", "replace"
        )
    text = rng.choice(texts)
    return json.dumps(_mangled(rng, json.loads(text))) if kind < 0.75 else _cut(rng, text, texts)


def _mangled(rng: random.Random, value: Any) -> Any:
    """The same tree with some values, keys and lengths changed."""
    if rng.random() < 0.08:
        return rng.choice(LEAVES)
    if isinstance(value, list):
        found = [_mangled(rng, one) for one in value]
        return found * rng.choice([0, 1, 1, 1, 1, 1, 2])
    if isinstance(value, dict):
        return {
            rng.choice(KEYS) if rng.random() < 0.05 else key: _mangled(rng, one)
            for key, one in value.items()
        }
    return value


def _cut(rng: random.Random, text: str, texts: list[str]) -> str:
    for _ in range(rng.randrange(1, 5)):
        place, kind = rng.randrange(len(text) + 1), rng.random()
        if kind < 0.4:
            text = text[:place] + rng.choice(ALPHABET) + text[place:]
        elif kind < 0.7:
            text = text[:place] + text[place + rng.randrange(1, 6) :]
        else:
            other = rng.choice(texts)
            begin = rng.randrange(len(other))
            text = text[:place] + other[begin : begin + rng.randrange(40)] + text[place:]
    return text


def _number(student: Student) -> None:
    student.number("a").matches(1.5, mistakes=[(2.0, "two")])


def _array(student: Student) -> None:
    student.array("a", (2,)).matches(np.zeros(2))


def _value(student: Student) -> None:
    answer = student.value("a")
    assert repr(answer)
    assert not isinstance(answer.value, bytes | plain_data.Mapping) or isinstance(
        answer.value, dict
    )
    len(answer)
    answer[0].number()


def _comparison(student: Student) -> None:
    assert student.value("a") == 1.5
