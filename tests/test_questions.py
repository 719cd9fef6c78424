"""A question reads as Python, has one canonical form, and does not show hidden data."""

from __future__ import annotations

import numpy as np
import pytest

from nbmark import name
from nbmark.checks.questions import canonical, probed, text_of, tree_of


def test_a_question_reads_as_python_and_has_one_canonical_form():
    question = name("model").get_weights()[0] * 2 + name("f")(1, key="v")
    assert text_of(question) == "((model.get_weights()[0] * 2) + f(1, key='v'))"
    assert canonical(tree_of(question)) == canonical(
        tree_of(name("model").get_weights()[0] * 2 + name("f")(1, key="v"))
    )
    with pytest.raises(TypeError, match="plain data only"):
        name("f")(object())


def test_a_question_does_not_show_the_numbers_of_a_hidden_array():
    assert text_of(name("f")(np.array([1.25, 2.5]))) == "f(<2 numbers>)"


def test_a_probe_is_sent_as_its_source_alone():
    def count(thing):
        return len(thing)

    tree = tree_of(probed(count, "values"))
    assert tree[2] == "def count(thing):\n    return len(thing)"
