"""Reading a notebook file does no harm: odd cells are read, and other files are refused."""

from __future__ import annotations

import json

import pytest

from nbmark import notebooks
from nbmark.errors import NotebookUnreadable
from nbmark.notebooks import read_notebook, write_notebook


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"{}", b'{"cells": 3}', b"\xff\xfe", b"[" * 100_000, b'{"worksheets": []}'],
)
def test_a_file_that_is_not_a_notebook_is_refused(data):
    with pytest.raises(NotebookUnreadable):
        read_notebook(data)


def test_odd_cells_are_read_without_harm():
    cells = [
        7,
        {},
        {"cell_type": [], "source": {}, "metadata": 3},
        {"cell_type": "code", "source": ["a", 1, "b"], "metadata": {"nbgrader": []}},
    ]
    notebook = read_notebook(json.dumps({"cells": cells}).encode())
    assert [cell.source for cell in notebook] == ["", "", "ab"]
    assert json.loads(write_notebook(notebook, {}, {}))["nbformat"] == 4


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_a_notebook_in_any_common_encoding_is_read(encoding):
    cells = [{"cell_type": "code", "source": "x = 'äß'"}]
    data = json.dumps({"cells": cells}, ensure_ascii=False).encode(encoding)
    assert read_notebook(data)[0].source == "x = 'äß'"


def test_bytes_that_are_no_letters_of_windows_are_read_too():
    (cell,) = read_notebook(b'{"cells": [{"cell_type": "raw", "source": "\x81"}]}')
    assert cell.source == "\x81"


def test_a_notebook_of_format_3_is_upgraded():
    cells = [
        {"cell_type": "code", "input": ["a = 1\n", "b = 2"], "metadata": {}, "outputs": [{}]},
        {"cell_type": "heading", "level": 2, "source": "Title", "metadata": {}},
    ]
    old = {"nbformat": 3, "worksheets": [{"cells": cells}]}
    assert [(cell.kind, cell.source) for cell in read_notebook(json.dumps(old).encode())] == [
        ("code", "a = 1\nb = 2"),
        ("markdown", "## Title"),
    ]


@pytest.mark.parametrize(
    "cell",
    [{"cell_type": 7}, {"input": 3}, {"cell_type": "heading", "level": "x", "source": [[]]}, {}],
)
def test_an_absurd_notebook_of_format_3_does_no_harm(cell):
    old = {"nbformat": 3, "worksheets": [7, {"cells": 3}, {"cells": [cell, 7]}]}
    with pytest.raises(NotebookUnreadable, match="has an old format"):
        read_notebook(json.dumps(old).encode())


def test_a_file_with_too_many_values_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr(notebooks, "MAX_VALUES", 1000)
    with pytest.raises(NotebookUnreadable, match="more than 1,000 values"):
        read_notebook(b'{"cells": [' + b"{}," * 1000 + b"{}]}")
