"""Reading a notebook file does no harm: odd cells are read, and other files are refused."""

from __future__ import annotations

import json

import pytest

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
