"""Messages say what to do next, to an instructor and to a student."""

from __future__ import annotations

import pytest

from nbmark.errors import unknown
from nbmark.running import exceptions
from nbmark.sandbox.replies import CellRun


def test_an_unknown_name_is_answered_with_the_nearest_one():
    error = unknown("assignment", "ms", "source/", ["keras", "mse"])
    assert str(error) == "no assignment 'ms' under source/ (found: keras, mse). Did you mean 'mse'?"


STUB_TRACE = ["---", "\x1b[36mCell In[3]\x1b[39m, line 2\n  raise", "NotImplementedError: "]
LIBRARY_TRACE = ["Cell In[3], line 2", "File /usr/lib/python3/asyncio/events.py:210, in run()"]
EXPLAINED = [
    ("ModuleNotFoundError", "No module named 'seaborn'", "imports seaborn. This library is not"),
    ("StdinNotImplementedError", "raw_input was called, but …", "nobody types while"),
    ("URLError", "<urlopen error [Errno -3] Temporary failure>", "needs the internet"),
    ("gaierror", "[Errno -3] Temporary failure in name resolution", "needs the internet"),
    ("ConnectionError", "HTTPConnectionPool(host='example.org', port=80)", "needs the internet"),
    ("OSError", "[Errno 101] Network is unreachable", "needs the internet"),
    (
        "FileNotFoundError",
        "[Errno 2] No such file or directory: 'a b.csv'",
        "file 'a b.csv', which",
    ),
    ("FileNotFoundError", "line.csv not found.", "file 'line.csv', which is not there"),
    (
        "SyntaxError",
        "'(' was never closed (1409182691.py, line 7)",
        "'(' was never closed, line 7.",
    ),
    ("NameError", "name 'ax_fit' is not defined", "uses ax_fit, but no cell before"),
    ("ZeroDivisionError", "division by zero", "in an error: ZeroDivisionError: division by zero"),
    ("AssertionError", "Return two numbers.", "in an error: Return two numbers."),
]


def error_run(trace: list[str], message: str = "") -> CellRun:
    output = {"output_type": "error", "traceback": trace}
    return CellRun("error", [output], error_name="NotImplementedError", error_message=message)


def test_a_task_without_an_answer_asks_for_the_students_own_code():
    assert "put your own code" in exceptions.error(error_run(STUB_TRACE), "Task 4", "NumPy")


@pytest.mark.parametrize(
    "run", [error_run(LIBRARY_TRACE), error_run(STUB_TRACE, "Cannot convert a symbolic tensor")]
)
def test_an_error_of_a_library_is_not_taken_for_a_missing_answer(run):
    sentence = exceptions.error(run, "Task 4", "NumPy")
    assert sentence.startswith("Task 4 ended in an error: NotImplementedError")


@pytest.mark.parametrize(("name", "message", "sentence"), EXPLAINED)
def test_each_common_error_is_explained_to_a_beginner(name, message, sentence):
    explained = exceptions.explain("Task 4", name, message)
    assert explained.startswith("Task 4 ")
    assert sentence in explained


@pytest.mark.parametrize(
    ("message", "readable"),
    [
        (
            "{{function_node __wrapped__MatMul_device_/job:localhost/device:CPU:0}} Matrix "
            "size-incompatible: In[0]: [1,2], In[1]: [1,2] [Op:MatMul] name: ",
            "Matrix size-incompatible: In[0]: [1,2], In[1]: [1,2]",
        ),
        (
            'in user code:  File "/tmp/ipykernel_7/12.py", line 3, in f * return a + b  '
            "ValueError: Dimensions must be equal, but are 2 and 3 for '{{node add}} = AddV2'.",
            "Dimensions must be equal, but are 2 and 3 for ' = AddV2'.",
        ),
        (
            "cannot import name 'x' from 'numpy' (/opt/python/lib/numpy/__init__.py)",
            "cannot import name 'x' from 'numpy'",
        ),
        ("bad <function f at 0x7f3aca52cb80>", "bad <function f>"),
        ("see /opt/python/lib/secret/module.py", "see module.py"),
        ("word " * 100, "word " * 40 + "…"),
    ],
)
def test_an_error_shows_neither_our_machine_nor_half_a_word(message, readable):
    end = "…" if readable.endswith("…") else "."
    assert exceptions.explain("f(1)", "ValueError", message) == (
        f"f(1) ended in an error: ValueError: {readable}".removesuffix(".").rstrip("…") + end
    )


def test_a_sentence_names_the_libraries_that_the_assignment_imports():
    modules = ["tensorflow.keras", "numpy", "time"]
    assert exceptions.library_names(modules) == "NumPy and TensorFlow"
    assert "the libraries" in exceptions.library_names(["time"])
