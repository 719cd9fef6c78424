"""Answers questions inside the student's kernel, and leaves everything as it was.

A question is a tree of JSON lists (`nbmark.checks.questions` writes them):
``["name", n]  ["const", v]  ["attr", e, n]  ["item", e, e]  ["call", e, [e…], {n: e}]
["op", o, e…]  ["map", f, e]  ["probe", name, source, [e…]]``.
The answer is plain data as JSON text. Whatever the student did to this process, the worst it can
do here is to lie about the student's own values.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import math
import operator
import os
import random
import sys

from . import dtypes

MAX_NODES = 200_000
MAX_DEPTH = 24
MAX_INT_BITS = 4096
OPERATORS = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "pow": operator.pow,
    "neg": operator.neg,
}


TOO_LARGE = json.dumps({"error": {"kind": "too-large"}})


def furnish(text):
    """Put the assignment's own files beside the notebook, and set environment variables."""
    found = json.loads(text)
    for name, data in found["files"].items():
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        with open(name, "wb") as file:
            file.write(base64.b64decode(data))
    os.environ.update(found["environment"])


def answer(text, namespace, max_bytes):
    """JSON text ``{"ok": value}`` or ``{"error": {...}}`` for one question."""
    try:
        question = json.loads(text)
        with _undisturbed():
            reply = {"ok": Encoder(max_bytes).encode(Evaluator(namespace).evaluate(question))}
        found = json.dumps(reply, allow_nan=False)
        if len(found) > max_bytes:
            raise TooLarge
    except MissingName as error:
        found = json.dumps({"error": {"kind": "missing-name", "name": error.args[0]}})
    except TooLarge:
        found = TOO_LARGE
    except KeyboardInterrupt:
        found = json.dumps({"error": {"kind": "interrupted"}})
    except BaseException as error:  # a student's function may raise SystemExit
        found = json.dumps(
            {
                "error": {
                    "kind": "raised",
                    "type": _short(type(error).__name__, 80),
                    "message": _short(error, 300),
                }
            }
        )
    return found


class MissingName(Exception):
    """The notebook defines no such name."""


class TooLarge(Exception):
    """The value is larger than an answer may be."""


class Evaluator:
    """Evaluates one expression tree in the notebook's namespace."""

    def __init__(self, namespace):
        self.namespace = namespace

    def evaluate(self, tree):
        return getattr(self, "_" + tree[0])(*tree[1:])

    def _name(self, name):
        if name not in self.namespace:
            raise MissingName(name)
        return self.namespace[name]

    def _const(self, value):
        return decode(value)

    def _attr(self, owner, name):
        return getattr(self.evaluate(owner), name)

    def _item(self, owner, key):
        return self.evaluate(owner)[self.evaluate(key)]

    def _call(self, function, arguments, keywords):
        found = self.evaluate(function)
        return found(
            *(self.evaluate(one) for one in arguments),
            **{name: self.evaluate(one) for name, one in keywords.items()},
        )

    def _op(self, name, *operands):
        return OPERATORS[name](*(self.evaluate(one) for one in operands))

    def _map(self, function, values):
        found = self.evaluate(function)
        return [found(one) for one in self.evaluate(values)]

    def _probe(self, name, source, arguments):
        space = {"__name__": "probe"}
        exec(compile(source, f"<probe {name}>", "exec"), space)
        return space[name](*(self.evaluate(one) for one in arguments))


def decode(value):
    """The Python object for a constant of a question: always a fresh copy."""
    if not isinstance(value, dict):
        return value
    ((kind, body),) = value.items()
    if kind == "float":
        return float(body)
    if kind == "complex":
        return complex(decode(body[0]), decode(body[1]))
    if kind == "list":
        return [decode(one) for one in body]
    if kind == "tuple":
        return tuple(decode(one) for one in body)
    if kind == "dict":
        return {decode(key): decode(one) for key, one in body}
    import numpy

    data = numpy.frombuffer(base64.b64decode(body["data"]), dtype=body["dtype"])
    return data[0] if kind == "scalar" else data.reshape(body["shape"]).copy()


class Encoder:
    """Turns a live object into plain data, or into the name of its type."""

    def __init__(self, max_bytes):
        self.nodes = 0
        self.bytes_left = max_bytes

    def encode(self, value, depth=0):
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
        if kind is str:
            self._spend(len(value))
            return value
        if kind is complex:
            return {"complex": [self.encode(value.real), self.encode(value.imag)]}
        if kind in (list, tuple):
            return {kind.__name__: [self.encode(one, depth + 1) for one in value]}
        if kind is dict or isinstance(value, dict):
            pairs = dict.items(value)
            return {
                "dict": [[self.encode(k, depth + 1), self.encode(v, depth + 1)] for k, v in pairs]
            }
        return self._encode_array(value)

    def _encode_array(self, value):
        array, label = _as_array(value)
        if array is None or array.dtype.char not in dtypes.CHARACTERS:
            return {
                "object": {"type": _short(type(value).__name__, 80), "text": _short(value, 200)}
            }
        self._spend(array.nbytes * 4 // 3)
        array = array.astype(array.dtype.newbyteorder("<"))
        body = {"dtype": array.dtype.str, "data": base64.b64encode(array.tobytes()).decode()}
        if label == "array":
            body["shape"] = list(array.shape)
        return {label: body}

    def _spend(self, amount):
        self.bytes_left -= amount
        if self.bytes_left < 0:
            raise TooLarge


def _as_array(value):
    """An ndarray for NumPy values and TensorFlow tensors, else None."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None, ""
    if isinstance(value, numpy.generic):
        return _plain(numpy, numpy.asarray(value)), "scalar"
    if isinstance(value, numpy.ndarray):
        return _plain(numpy, numpy.asarray(value)), "array"
    module = type(value).__module__
    if module.startswith(("tensorflow.", "keras.")) and hasattr(value, "numpy"):
        return _plain(numpy, numpy.asarray(value.numpy())), "array"
    return None, ""


def _plain(numpy, array):
    """Wider or exotic floats become float64; masked and other subclasses plain arrays."""
    if array.dtype.kind in "fc" and array.dtype.char not in dtypes.CHARACTERS:
        return array.astype(complex if array.dtype.kind == "c" else float)
    return array.astype(numpy.float32) if array.dtype.name == "bfloat16" else array


def _short(value, length):
    """Text of a student's object, which may be hostile, at most `length` characters."""
    try:
        text = (
            value
            if type(value) is str
            else str.__str__(repr(value))
            if not isinstance(value, BaseException)
            else str.__str__(str(value))
        )
        return text[:length].encode("utf-8", "replace").decode()
    except BaseException:
        return "?"


@contextlib.contextmanager
def _undisturbed():
    """Random states, current figure, working directory and streams as they were before."""
    numpy = sys.modules.get("numpy")
    figures = sys.modules.get("matplotlib._pylab_helpers")
    python_state, folder = random.getstate(), os.getcwd()
    numpy_state = numpy.random.get_state() if numpy else None
    managers = list(figures.Gcf.figs.items()) if figures else []
    restore_tensorflow = _tensorflow_state()
    silent = io.StringIO()
    try:
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            yield
    finally:
        random.setstate(python_state)
        os.chdir(folder)
        if numpy:
            numpy.random.set_state(numpy_state)
        restore_tensorflow()
        if figures:
            figures.Gcf.figs.clear()
            figures.Gcf.figs.update(managers)


def _tensorflow_state():
    """Notes TensorFlow's and Keras' random states, if loaded; gives what restores them."""
    eager = sys.modules.get("tensorflow.python.eager.context")
    if eager is None:
        return lambda: None
    context = eager.context()
    python_state = context._rng.getstate() if getattr(context, "_rng", None) else None
    stateful = sys.modules.get("tensorflow.python.ops.stateful_random_ops")
    keras = sys.modules.get("keras.src.backend.common.global_state")
    generators = [
        getattr(stateful, "global_generator", None),
        keras.get_global_attribute("global_seed_generator") if keras else None,
    ]
    states = [(one.state, one.state.numpy()) for one in generators if one is not None]

    def restore():
        if python_state is not None and context._rng.getstate() != python_state:
            context._rng.setstate(python_state)
            # Kernels count their draws: the next one must start anew, as after set_seed.
            eager.pywrap_tfe.TFE_ContextClearCaches(context._context_handle)
        for variable, value in states:
            variable.assign(value)

    return restore
