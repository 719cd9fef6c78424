"""Plain data: the only values that cross from a student's process to a check.

`sandbox/inside/encoder.py` is the other half of the format. An answer is never evaluated, imported
or unpickled. An answer in another format raises `UnreadableAnswer`, and the student's check fails.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbmark.errors import UnreadableAnswer
from nbmark.sandbox.inside import dtypes

# `np.dtype` would also accept structured and object dtypes, so an answer may name only these.
DTYPE_OF = {
    dtype.str: dtype for dtype in (np.dtype(char).newbyteorder("<") for char in dtypes.CHARACTERS)
}
# The encoder refuses values nested more than 24 deep, so deeper answers come from forged replies.
MAX_DEPTH = 64
MAX_DIMENSIONS = 8
# An honest answer has at most `encoder.MAX_NODES` values with a few of the signs "[{," each. A
# forged one of the same length could need twenty times its memory.
MAX_SIGNS = 1_000_000


@dataclass(frozen=True)
class Opaque:
    """A value that is not plain data. It equals nothing, not even itself.

    Parameters
    ----------
    type_name, text
        The type and the ``repr`` as the student's process described them. Show them to the student
        only, because the process may lie.
    """

    type_name: str
    text: str

    # A student's class may claim equality with everything, so equality with it means nothing.
    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return id(self)

    def __str__(self) -> str:
        return self.text or f"an object of type {self.type_name}"


def parse(text: str, max_chars: int) -> Any:
    """Return the JSON value of an answer.

    Raises
    ------
    UnreadableAnswer
        If the text is longer than `max_chars`, holds too many values, is nested too deeply, or is
        not JSON.
    """
    if len(text) > max_chars or sum(map(text.count, "[{,")) > MAX_SIGNS:
        raise UnreadableAnswer("the value is too large to be checked")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UnreadableAnswer("the value could not be read") from None


def encode(value: Any) -> Any:
    """Return the JSON form of a constant that goes into a question.

    Raises
    ------
    TypeError
        If an instructor's check passes a value that is not plain data.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return _encode_array(value)
    if isinstance(value, float):
        # JSON has no inf and no nan.
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, complex):
        return {"complex": [encode(value.real), encode(value.imag)]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [encode(element) for element in value]}
    if isinstance(value, Mapping):
        # Pairs, because a key of a JSON object can only be text.
        return {"dict": [[encode(key), encode(element)] for key, element in value.items()]}
    raise TypeError(f"a question takes plain data only, not {type(value).__name__}: {value!r}")


def decode(value: Any, depth: int = 0) -> Any:
    """Return the Python value of an answer's JSON form.

    Returns
    -------
    value
        None, bool, int, float, complex, str, list, tuple, dict, ndarray, NumPy scalar or `Opaque`.

    Raises
    ------
    UnreadableAnswer
        If `value` is not the JSON form of one of these, or nested too deeply.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth > MAX_DEPTH or not isinstance(value, dict) or len(value) != 1:
        raise UnreadableAnswer("the value could not be read")
    ((kind, body),) = value.items()
    try:
        return _DECODERS[kind](body, depth + 1)
    except _MALFORMED:
        raise UnreadableAnswer("the value could not be read") from None


# A forged answer can put any JSON value in any place, so the decoders below meet all of these.
_MALFORMED = (LookupError, TypeError, ValueError, OverflowError, AttributeError, RecursionError)


def _encode_array(value: np.ndarray[Any, Any] | np.generic) -> dict[str, Any]:
    array = np.asarray(value)
    if array.dtype.char not in dtypes.CHARACTERS:
        raise TypeError(f"a question takes numeric arrays only, not dtype {array.dtype}")
    array = array.astype(array.dtype.newbyteorder("<"))
    body = {"dtype": array.dtype.str, "data": base64.b64encode(array.tobytes()).decode()}
    if isinstance(value, np.generic):
        return {"scalar": body}
    return {"array": {**body, "shape": list(array.shape)}}


def _decode_array(body: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    dtype = DTYPE_OF[body["dtype"]]
    shape = tuple(body.get("shape", ()))
    # `isinstance` would let True pass as a size.
    if not all(type(size) is int and size >= 0 for size in shape) or len(shape) > MAX_DIMENSIONS:
        raise ValueError(shape)
    data = base64.b64decode(body["data"], validate=True)
    # The shape must fit the data that came. Otherwise a forged one could ask for terabytes.
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(shape)
    return np.frombuffer(data, dtype=dtype).reshape(shape).copy()  # a buffer is read-only


def _decode_items(body: Any, depth: int) -> list[Any]:
    """Return the items of a list, which many numbers reach as one array."""
    if isinstance(body, list):
        return [decode(element, depth) for element in body]
    array = _decode_array(body)
    # With no items in its rows, an array could have any number of rows.
    if array.dtype not in (np.float64, np.int64) or not array.size:
        raise ValueError(array.dtype)
    return list(array.tolist())


def _decode_pairs(body: Any, depth: int) -> dict[Any, Any]:
    pairs: dict[Any, Any] = {}
    for key, element in body:
        plain_key = decode(key, depth)
        if isinstance(plain_key, np.generic):
            plain_key = plain_key.item()  # so that a check can look it up as a Python number
        pairs[plain_key] = decode(element, depth)
    return pairs


def _decode_float(body: Any) -> float:
    if body not in ("nan", "inf", "-inf"):  # a finite float is a JSON number
        raise ValueError(body)
    return float(body)


_DECODERS: dict[str, Any] = {
    "float": lambda body, depth: _decode_float(body),
    "complex": lambda body, depth: complex(decode(body[0], depth), decode(body[1], depth)),
    "list": _decode_items,
    "tuple": lambda body, depth: tuple(_decode_items(body, depth)),
    "dict": _decode_pairs,
    "array": lambda body, depth: _decode_array(body),
    "scalar": lambda body, depth: _decode_array(body)[()],
    "object": lambda body, depth: Opaque(str(body["type"])[:80], str(body["text"])[:200]),
}
