"""The notebooks of one submission share its time and its output, and each answers its questions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from helpers import SMALL
from nbmark.checks.questions import canonical, name, tree_of
from nbmark.errors import CheckFailed
from nbmark.limits import Limits
from nbmark.models import NotebookContext
from nbmark.notebooks import Cell
from nbmark.running.submission_run import Run
from nbmark.sandbox.supply import SessionSource

A = canonical(tree_of(name("a")))


@pytest.fixture(params=["started", "forked"])
def supply(request) -> Iterator[SessionSource]:
    """Give a source of sessions: once without a fork server, once with one."""
    imports = ["numpy"] if request.param == "forked" else None
    with closing(SessionSource("bubblewrap", SMALL, imports)) as source:
        yield source


def run_of(supply: SessionSource, limits: Limits = SMALL, **notebooks: list[str]) -> Run:
    """Return a run of notebooks whose cells are all grade cells: ``<name>0``, ``<name>1`` …"""
    cells = {
        notebook: [
            Cell("code", code, {"grade_id": f"{notebook}{number}", "grade": True, "points": 1})
            for number, code in enumerate(codes)
        ]
        for notebook, codes in notebooks.items()
    }
    return Run(cells, limits, supply.open, NotebookContext("ada", {}))


def test_every_notebook_answers_each_question_in_its_own_state(supply):
    with closing(run_of(supply, one=["a = 1"], two=["a = 2", "a = 3"])) as run:
        for cell, answer in (("one0", 1), ("one0", 1), ("two0", 2), ("two0", 2), ("two1", 3)):
            run.advance_to(cell)
            assert run.ask(A, cell=cell, check="") == f'{{"ok": {answer}}}'
        statuses = [cell.status for cells in run.finish().values() for cell in cells]
        assert statuses == ["ok"] * 3


def test_all_notebooks_share_the_time_of_the_submission(supply):
    limits = replace(SMALL, submission_timeout_s=3)
    slow = "a = 1; __import__('time').sleep(2.2)"
    with closing(run_of(supply, limits, one=[slow], two=["a = 2"])) as run:
        run.advance_to("one0")
        with pytest.raises(CheckFailed, match="spent the 3 s without computing"):
            run.advance_to("two0")
        assert run.finish()["two"][0].status == "not run"
        assert run.stopped_by_clock


def test_all_outputs_and_answers_share_one_limit(supply):
    limits = replace(SMALL, output_kib=40)
    codes = ["a = 1; print('x' * 30_000)", "print('y' * 30_000)", "a = 'z' * 20_000"]
    with closing(run_of(supply, limits, one=codes)) as run:
        run.advance_to("one2")
        assert "too-large" in run.ask(A, cell="one2", check="")
        sizes = [len(str(cell.outputs)) for cell in run.finish()["one"]]
        assert sizes[0] > 30_000
        assert sizes[1] < 1_000
