"""An agent in the student's kernel, which answers questions and leaves everything as it was.

A question is a tree of JSON lists (`nbmark.checks.questions` writes them):
``["name", n]  ["const", v]  ["attr", e, n]  ["item", e, e]  ["call", e, [e…], {n: e}]
["op", o, e…]  ["map", f, e]  ["probe", name, source, [e…]]``.
The answer is plain data as JSON text. A student may have changed anything in this process, but can
only make the agent lie about the student's own values.
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
MAX_DEPTH = 24  # a list may contain itself
MAX_INT_BITS = 4096  # the time to write an int as text grows with the square of its length
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
    """Put the assignment's own files beside the notebook and set environment variables."""
    request = json.loads(text)
    for name, data in request["files"].items():
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        with open(name, "wb") as file:
            file.write(base64.b64decode(data))
    os.environ.update(request["environment"])


def answer(text, namespace, max_bytes):
    """Return the answer to a question, as JSON text ``{"ok": value}`` or ``{"error": {...}}``."""
    try:
        question = json.loads(text)
        # Encoding is part of the block because it runs a student's code too, such as `__repr__`.
        with _state_restored():
            value = Encoder(max_bytes).encode(Evaluator(namespace).evaluate(question))
        reply = json.dumps({"ok": value}, allow_nan=False)
        if len(reply) > max_bytes:
            raise TooLarge
    except MissingName as error:
        return _error("missing-name", name=error.args[0])
    except TooLarge:
        return TOO_LARGE
    except KeyboardInterrupt:  # the driver interrupts a question at its deadline
        return _error("interrupted")
    except BaseException as error:  # a student's function may raise SystemExit
        name, message = _short(type(error).__name__, 80), _short(error, 300)
        return _error("raised", type=name, message=message)
    return reply


def _error(kind, **details):
    return json.dumps({"error": {"kind": kind, **details}})


class MissingName(Exception):
    """The notebook defines no such name."""


class TooLarge(Exception):
    """The value exceeds the size limit of an answer."""


class Evaluator:
    """An evaluator of expression trees in the notebook's namespace."""

    def __init__(self, namespace):
        self.namespace = namespace

    def evaluate(self, tree):
        """Return the value of a tree; each kind has a method of its name."""
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
        # The function first, as in Python: evaluating an argument may change the name's value.
        callee = self.evaluate(function)
        return callee(
            *(self.evaluate(argument) for argument in arguments),
            **{name: self.evaluate(argument) for name, argument in keywords.items()},
        )

    def _op(self, name, *operands):
        return OPERATORS[name](*(self.evaluate(operand) for operand in operands))

    def _map(self, function, values):
        callee = self.evaluate(function)
        return [callee(value) for value in self.evaluate(values)]

    def _probe(self, name, source, arguments):
        # A namespace of its own: a probe must not see or change the notebook's names.
        space = {"__name__": "probe"}
        exec(compile(source, f"<probe {name}>", "exec"), space)
        return space[name](*(self.evaluate(argument) for argument in arguments))


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
        # The exact type, because a subclass may lie about its value. A dict's subclass, such as a
        # defaultdict, is read by dict's own method, which it cannot override.
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
            return {kind.__name__: [self.encode(item, depth + 1) for item in value]}
        if isinstance(value, dict):
            pairs = dict.items(value)
            return {
                "dict": [[self.encode(k, depth + 1), self.encode(v, depth + 1)] for k, v in pairs]
            }
        return self._encode_array(value)

    def _encode_array(self, value):
        array, label = _as_array(value)
        if array is None or array.dtype.char not in dtypes.CHARACTERS:
            name, text = _short(type(value).__name__, 80), _short(value, 200)
            return {"object": {"type": name, "text": text}}
        # Spent before the copies below are made. Base64 writes three bytes as four characters.
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
    """Return the plain array of a NumPy value or TensorFlow tensor and its label, or None, ""."""
    # Where NumPy is not loaded, no value can be of its types, and loading it would take time.
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
    """Return the array with a dtype that answers allow, if its kind has one."""
    # The check's side knows few dtypes: long doubles become float64, bfloat16 becomes float32.
    if array.dtype.kind in "fc" and array.dtype.char not in dtypes.CHARACTERS:
        return array.astype(complex if array.dtype.kind == "c" else float)
    return array.astype(numpy.float32) if array.dtype.name == "bfloat16" else array


def _short(value, length):
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


@contextlib.contextmanager
def _state_restored():
    """Restore random states, open figures, the working directory and streams after the block.

    The number and kind of questions must not change the results of the cells that follow.
    """
    numpy = sys.modules.get("numpy")
    figures = sys.modules.get("matplotlib._pylab_helpers")
    python_state, folder = random.getstate(), os.getcwd()
    numpy_state = numpy.random.get_state() if numpy else None
    managers = list(figures.Gcf.figs.items()) if figures else []
    restore_tensorflow = _tensorflow_state()
    silent = io.StringIO()  # text printed by a question is no cell's output
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
    """Return a function that restores TensorFlow's and Keras's random states as they are now."""
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
    states = [(item.state, item.state.numpy()) for item in generators if item is not None]

    def restore():
        if python_state is not None and context._rng.getstate() != python_state:
            context._rng.setstate(python_state)
            # TensorFlow's kernels also count their draws. Without its cached kernels the next draw
            # starts counting again, as after set_seed.
            eager.pywrap_tfe.TFE_ContextClearCaches(context._context_handle)
        for variable, value in states:
            variable.assign(value)

    return restore
