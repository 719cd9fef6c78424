"""Plain data survives the trip between two processes, and hostile data is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nbmark.checks.plain_data import decode, encode, parse
from nbmark.errors import UnreadableAnswer

SCALARS = [None, True, 1, -7, 2**70, 1.5, float("inf"), "text", 2 + 1j, np.float32(1.5)]
CONTAINERS = [[1, [2.0]], (1, "a"), {"a": [1]}, {1: 2}]
ARRAYS = [np.arange(6).reshape(2, 3), np.array([], dtype=bool)]


@pytest.mark.parametrize("value", [*SCALARS, *CONTAINERS, *ARRAYS])
def test_plain_data_survives_a_round_trip(value):
    sent = json.loads(json.dumps(encode(value), allow_nan=False))
    received = decode(sent)
    assert type(received) is type(value)
    assert np.all(received == value)


HOSTILE = [
    {"array": {"dtype": "O", "shape": [1], "data": "AAAA"}},
    {"array": {"dtype": "<f8", "shape": [10**12], "data": "AAAA"}},
    {"array": {"dtype": "<f8", "shape": [-1], "data": ""}},
    {"array": {"dtype": "<f8,<f8", "shape": [1], "data": "A" * 24}},
    {"array": {"dtype": "V8", "shape": [1], "data": "AAAAAAAAAAA="}},
    {"array": {"dtype": 7, "shape": 7, "data": 7}},
    {"pickle": "gASVAAAA"},
    {"float": "1"},
    {"list": 3},
    {"dict": [[{"list": []}, 1]]},
    {},
    {"a": 1, "b": 2},
    [1],
]


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_a_hostile_answer_is_unreadable_and_raises_no_other_error(value):
    with pytest.raises(UnreadableAnswer):
        decode(value)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "nul", '{"ok": ' + "9" * 5000 + "}"])
def test_hostile_json_is_unreadable_and_raises_no_other_error(text):
    with pytest.raises(UnreadableAnswer):
        parse(text, 1 << 20)


def test_a_deeply_nested_answer_is_unreadable():
    value: object = 1
    for _ in range(200):
        value = {"list": [value]}
    with pytest.raises(UnreadableAnswer):
        decode(value)


def test_a_long_list_arrives_as_the_list_it_was():
    body = encode(np.arange(5.0))["array"]
    assert decode({"list": body}) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert decode({"tuple": encode(np.eye(2))["array"]}) == ([1.0, 0.0], [0.0, 1.0])


@pytest.mark.parametrize("array", [np.zeros((10**9, 0)), np.array(1.0), np.zeros(5, dtype="?")])
def test_a_list_that_would_need_more_memory_than_its_text_is_unreadable(array):
    with pytest.raises(UnreadableAnswer):
        decode({"list": encode(array)["array"]})


@pytest.mark.parametrize("text", ["[" + "[]," * 600_000 + "1]", "[" + "1," * 1_500_000 + "1]"])
def test_an_answer_of_too_many_values_is_too_large(text):
    with pytest.raises(UnreadableAnswer, match="too large"):
        parse(text, 1 << 25)
