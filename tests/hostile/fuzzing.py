"""Made-up notebooks and answers: each must end in a grade or in a named error."""

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

from nbmark.checks import plain_data
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
FATES = st.sampled_from(["keep", "keep", "drop", "twice", "change"])


@st.composite
def notebooks(draw: Callable[[Any], Any], released: Mapping[str, Any]) -> bytes:
    """Draw a submission: the release with cells changed, dropped, doubled, moved and added.

    Every tenth also has some bytes cut out or replaced, so that it may not be JSON.
    """
    notebook = copy.deepcopy(dict(released))
    cells: list[Any] = []
    for cell in notebook["cells"]:
        fate = draw(FATES)
        if fate == "change":
            cell |= draw(CELLS)
        cells += [cell] * {"drop": 0, "twice": 2}.get(fate, 1)
    cells += draw(st.lists(CELLS | JSON, max_size=3))
    notebook["cells"] = draw(st.permutations(cells)) if draw(st.booleans()) else cells
    if draw(st.integers(0, 4)) == 0:
        notebook |= draw(st.dictionaries(st.sampled_from(["cells", "metadata", "nbformat"]), JSON))
    data = json.dumps(notebook).encode()
    if draw(st.integers(0, 9)) == 0:
        cut = draw(st.integers(0, len(data)))
        data = data[:cut] + draw(st.binary(max_size=20)) + data[cut + draw(st.integers(0, 20)) :]
    return data


def examples_of(strategy: st.SearchStrategy[bytes], number: int, start: int) -> list[bytes]:
    """Return `number` examples of a strategy; `start` seeds the choice."""
    examples: list[bytes] = []

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
        examples.append(example)

    collect()
    return examples


def grade_notebooks(course: Path, number: int, start: int) -> list[str]:
    """Grade `number` made-up notebooks as one class; return a line for each failure of ours."""
    released = json.loads((course / "release" / "target" / "target.ipynb").read_text())
    examples = examples_of(notebooks(released), number, start)
    for index, data in enumerate(examples):
        folder = course / "submitted" / f"fuzz-{start}-{index}" / "target"
        folder.mkdir(parents=True)
        (folder / "target.ipynb").write_bytes(data)
        (folder / "timestamp.txt").write_text(attacks.STAMP)
    completed = subprocess.run(
        [attacks.BIN / "nbmark", "grade", "target", "--json"],
        cwd=course,
        text=True,
        capture_output=True,
        check=False,
    )
    if "Traceback" in completed.stderr or not completed.stdout:
        return [f"the batch was stopped: {completed.stderr[-2000:]}"]
    rows = json.loads(completed.stdout)["students"]
    troubles = [
        f"{row['student']}: {row['outcome']}: {row['trouble']}"
        for row in rows
        if row["outcome"] != "graded" and not row["trouble"].strip()
    ]
    troubles += [
        f"{row['student']}: {result['trace']}"
        for row in rows
        for result in row["checks"]
        if result["trace"]
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
WORDS = "ok error float complex list tuple dict array scalar object dtype shape data type text"
KEYS = [*WORDS.split(), "kind", "name", ""]
PLAIN_LEAVES: list[Any] = [None, True, 0, -1, 1.5, 1e308, 10**40]
TEXT_LEAVES = ["", "nan", "<f8", "|O", "<U3", "f8,f8", "AAAA", "\ud800", "x" * 50]
TREES: list[Any] = [
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
REPLACEMENTS = [*PLAIN_LEAVES, *TEXT_LEAVES, *TREES]
ALPHABET = '{}[]":,.-+e0123456789truefalsnl\\u<>f8bi=?'


def judge_answers(number: int, start: int) -> list[str]:
    """Judge `number` random and mutated answers; return a line for each error of ours."""
    rng = random.Random(start)  # noqa: S311  # repeatable, and no secret
    texts = [json.dumps(answer) for answer in VALID]
    troubles = []
    for _ in range(number):
        text = _mutated(rng, texts)
        student = Student(["x"], lambda question, text=text: text, 100_000)
        for judge in (_number, _array, _value, _comparison):
            try:
                judge(student)
            except (CheckFailed, AssertionError):
                continue
            except Exception as error:
                troubles.append(f"{type(error).__name__} {error} for {text[:200]!r}")
    return troubles


def _mutated(rng: random.Random, texts: list[str]) -> str:
    """Return mostly a changed tree, which is still JSON; sometimes changed text or random bytes."""
    kind = rng.random()
    if kind < 0.05:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(60))).decode(
            "utf-8", "replace"
        )
    text = rng.choice(texts)
    return json.dumps(_mangled(rng, json.loads(text))) if kind < 0.75 else _cut(rng, text, texts)


def _mangled(rng: random.Random, value: Any) -> Any:
    """Return the same tree with some values, keys and lengths changed."""
    if rng.random() < 0.08:
        return rng.choice(REPLACEMENTS)
    if isinstance(value, list):
        elements = [_mangled(rng, element) for element in value]
        return elements * rng.choice([0, 1, 1, 1, 1, 1, 2])
    if isinstance(value, dict):
        return {
            rng.choice(KEYS) if rng.random() < 0.05 else key: _mangled(rng, element)
            for key, element in value.items()
        }
    return value


def _cut(rng: random.Random, text: str, texts: list[str]) -> str:
    """Return the text with up to four insertions, deletions and pieces of other texts."""
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
