"""Plain data across the wall: what may come back from a student's process, and nothing else.

The other half of the format is `inside/agent.py`. Nothing here evaluates, imports or unpickles
what came back; whatever does not fit the format is `UnreadableAnswer`, the student's trouble.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbmark.errors import UnreadableAnswer
from nbmark.sandbox.inside import dtypes

# The little-endian form of each: the only texts that name a dtype here.
DTYPE_OF = {
    one.str: one for one in (np.dtype(char).newbyteorder("<") for char in dtypes.CHARACTERS)
}
MAX_DEPTH = 64


@dataclass(frozen=True)
class Opaque:
    """A value that is not plain data: it equals nothing.

    Parameters
    ----------
    type_name, text
        As the student's process described it; for showing to its author only.
    """

    type_name: str
    text: str

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return id(self)

    def __str__(self) -> str:
        return self.text or f"an object of type {self.type_name}"


def parse(text: str, max_chars: int) -> Any:
    """The JSON value of an answer.

    Raises
    ------
    UnreadableAnswer
        If it is longer than `max_chars`, nested too deeply, or no JSON.
    """
    if len(text) > max_chars:
        raise UnreadableAnswer("the value is too large to be looked at")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UnreadableAnswer("the value could not be read") from None


def encode(value: Any) -> Any:
    """The JSON form of a constant that goes into a question.

    Raises
    ------
    TypeError
        If an instructor's check passes something that is not plain data.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return _encode_array(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, complex):
        return {"complex": [encode(value.real), encode(value.imag)]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [encode(one) for one in value]}
    if isinstance(value, Mapping):
        return {"dict": [[encode(key), encode(one)] for key, one in value.items()]}
    raise TypeError(f"a question takes plain data only, not {type(value).__name__}: {value!r}")


def decode(value: Any, depth: int = 0) -> Any:
    """The Python value of an answer's JSON form.

    Returns
    -------
    value
        None, bool, int, float, complex, str, list, tuple, dict, ndarray, NumPy scalar or `Opaque`.

    Raises
    ------
    UnreadableAnswer
        If the form is none of these.
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


_MALFORMED = (
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    OverflowError,
    AttributeError,
    RecursionError,
    binascii.Error,
)


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
    if not all(type(one) is int and one >= 0 for one in shape) or len(shape) > 8:
        raise ValueError(shape)
    data = base64.b64decode(body["data"], validate=True)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(shape)
    return np.frombuffer(data, dtype=dtype).reshape(shape).copy()


def _decode_pairs(body: Any, depth: int) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, one in body:
        plain_key = decode(key, depth)
        if isinstance(plain_key, np.generic):
            plain_key = plain_key.item()
        found[plain_key] = decode(one, depth)
    return found


def _decode_float(body: Any) -> float:
    if body not in ("nan", "inf", "-inf"):
        raise ValueError(body)
    return float(body)


_DECODERS: dict[str, Any] = {
    "float": lambda body, depth: _decode_float(body),
    "complex": lambda body, depth: complex(decode(body[0], depth), decode(body[1], depth)),
    "list": lambda body, depth: [decode(one, depth) for one in body],
    "tuple": lambda body, depth: tuple(decode(one, depth) for one in body),
    "dict": _decode_pairs,
    "array": lambda body, depth: _decode_array(body),
    "scalar": lambda body, depth: _decode_array(body)[()],
    "object": lambda body, depth: Opaque(str(body["type"])[:80], str(body["text"])[:200]),
}
