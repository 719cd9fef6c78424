"""An encoder of a student's values as plain data, and a decoder of the constants in questions.

`checks/plain_data.py` is the other half of the format.
"""

from __future__ import annotations

import base64
import math
import sys

from . import dtypes

MAX_NODES = 200_000
LONG = 1000  # a list of this many numbers or more travels as one array
MAX_DEPTH = 24  # a list may contain itself
MAX_INT_BITS = 4096  # the time to write an int as text grows with the square of its length


class TooLarge(Exception):
    """A value exceeds the size limit of an answer."""


class Encoder:
    """An encoder that turns a live object into plain data, or else into its type and text."""

    def __init__(self, max_bytes):
        self.nodes = 0
        self.bytes_left = max_bytes

    def encode(self, value, depth=0):
        """Return the plain data for a value.

        Raises
        ------
        TooLarge
            If the value is nested too deeply, or all values together exceed the size limit.
        """
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise TooLarge
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            if value.bit_length() > MAX_INT_BITS:
                raise TooLarge
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is complex:
            return {"complex": [self.encode(value.real), self.encode(value.imag)]}
        # A subclass, such as a defaultdict or a named tuple, is read by the methods of its base
        # class, which it cannot override. `isinstance` would ask the object itself.
        if issubclass(kind, str):
            self._spend(str.__len__(value))
            return str.__str__(value)
        if issubclass(kind, dict):
            pairs = dict.items(value)
            return {
                "dict": [[self.encode(k, depth + 1), self.encode(v, depth + 1)] for k, v in pairs]
            }
        for base in (list, tuple):
            if issubclass(kind, base):
                return {base.__name__: self._encode_items(list(base.__iter__(value)), depth)}
        return self._encode_numbers(value)

    def _encode_items(self, items, depth):
        """Return the items of a list one by one, or as one array if they are many numbers."""
        array = _as_array(items) if len(items) >= LONG and _are_numbers(items) else None
        if array is None or array.dtype.kind not in "if":
            return [self.encode(item, depth + 1) for item in items]
        # The check's side takes only these two, so that a list costs it no more than its array.
        return self._array_body(array.astype("i8" if array.dtype.kind == "i" else "f8"))

    def _encode_numbers(self, value):
        """Return the numbers that NumPy finds in an object, or else its type and text."""
        array = _as_array(value)
        if array is None:
            name, text = short_text(type(value).__name__, 80), short_text(value, 200)
            return {"object": {"type": name, "text": text}}
        body = self._array_body(array)
        numpy = sys.modules["numpy"]
        if array.ndim == 0 and not isinstance(value, numpy.ndarray):
            del body["shape"]
            return {"scalar": body}
        return {"array": body}

    def _array_body(self, array):
        # Spent before the copies below are made. Base64 writes three bytes as four characters.
        self._spend(array.nbytes * 4 // 3)
        array = array.astype(array.dtype.newbyteorder("<"))
        data = base64.b64encode(array.tobytes()).decode()
        return {"dtype": array.dtype.str, "shape": list(array.shape), "data": data}

    def _spend(self, amount):
        self.bytes_left -= amount
        if self.bytes_left < 0:
            raise TooLarge


def decode(value):
    """Return the Python object for a constant of a question, always a fresh copy."""
    if not isinstance(value, dict):
        return value
    ((kind, body),) = value.items()
    if kind == "float":
        return float(body)
    if kind == "complex":
        return complex(decode(body[0]), decode(body[1]))
    if kind == "list":
        return [decode(item) for item in body]
    if kind == "tuple":
        return tuple(decode(item) for item in body)
    if kind == "dict":
        return {decode(key): decode(item) for key, item in body}
    import numpy  # here, because an assignment may do without NumPy

    data = numpy.frombuffer(base64.b64decode(body["data"]), dtype=body["dtype"])
    return data[0] if kind == "scalar" else data.reshape(body["shape"]).copy()


def short_text(value, length):
    """Return the text of a student's object, at most `length` characters of it."""
    # `__repr__` may return a subclass of str with methods of its own, hence `str.__str__`. Lone
    # surrogates cannot be encoded as UTF-8 later, hence the replacement.
    try:
        if type(value) is str:
            text = value
        elif isinstance(value, BaseException):
            text = str.__str__(str(value))
        else:
            text = str.__str__(repr(value))
        return text[:length].encode("utf-8", "replace").decode()
    except BaseException:
        return "?"


def _are_numbers(items, depth=0):
    """Return whether nested lists hold nothing but real numbers and arrays of them."""
    # NumPy would count truth values as numbers, so the types decide.
    numpy = sys.modules.get("numpy")
    for item in items:
        kind = type(item)
        if kind is int or kind is float:
            continue
        if numpy and issubclass(kind, (numpy.generic, numpy.ndarray)):
            if item.dtype.kind not in "iuf":
                return False
        elif kind not in (list, tuple) or depth > MAX_DEPTH or not _are_numbers(item, depth + 1):
            return False
    return True


def _as_array(value):
    """Return the plain array that NumPy makes of a value, or None if that holds no numbers."""
    # Where NumPy is not loaded, no value can be of its types, and loading it would take time.
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    # A range of a billion numbers is small, but its array is not.
    if isinstance(value, range) and len(value) > MAX_NODES:
        return None
    try:
        array = numpy.asarray(value)  # asks a tensor or a table for its array
        if array.dtype.kind == "O":  # fractions and decimals
            # NumPy would take truth values and text for numbers, and None for nan.
            no_numbers = (bool, numpy.bool_, str, bytes, type(None))
            if any(isinstance(item, no_numbers) for item in array.flat):
                return None
            array = numpy.asarray(array, dtype=float)
    except Exception:
        return None
    # The check's side knows few dtypes: long doubles become float64, bfloat16 becomes float32.
    if array.dtype.name == "bfloat16":
        array = array.astype(numpy.float32)
    elif array.dtype.kind in "fc" and array.dtype.char not in dtypes.CHARACTERS:
        array = array.astype(complex if array.dtype.kind == "c" else float)
    return array if array.dtype.char in dtypes.CHARACTERS else None
