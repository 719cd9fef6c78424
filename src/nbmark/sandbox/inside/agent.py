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
MAX_NAMES = 10_000
LONG = 1000  # a list of at least so many numbers travels as one array
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
        # The reply travels as text in a frame, where each of these two takes a second character.
        if len(reply) + reply.count('"') + reply.count("\\") > max_bytes:
            raise TooLarge
    except MissingName as error:
        missing = error.args[0]
        return _error("missing-name", name=missing, near=_nearest(missing, namespace))
    except MissingAnswer as error:
        return _error("missing-answer", name=error.args[0])
    except TooLarge:
        return TOO_LARGE
    except KeyboardInterrupt:  # the driver interrupts a question at its deadline
        return _error("interrupted")
    except BaseException as error:  # a student's function may raise SystemExit
        name, message = _short(type(error).__name__, 80), _short(error, 2000)
        own = _is_raised_in(namespace, error)
        return _error("raised", type=name, message=message, own=own)
    return reply


def _error(kind, **details):
    return json.dumps({"error": {"kind": kind, **details}})


def _nearest(name, namespace):
    """Return the notebook's own name that resembles `name` most, or an empty text."""
    import difflib  # here, because few submissions need it

    own = [key for key in list(namespace) if type(key) is str and not key.startswith("_")]
    return (difflib.get_close_matches(name, own[:MAX_NAMES], n=1, cutoff=0.75) or [""])[0]


def _is_raised_in(namespace, error):
    """Return whether a line of the notebook raised the error, not one of a library."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return bool(trace) and trace.tb_frame.f_globals is namespace


class MissingName(Exception):
    """The notebook defines no such name."""


class MissingAnswer(Exception):
    """A variable is None, as in the release, where a probe needs an object."""


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
        values = [self.evaluate(argument) for argument in arguments]
        try:
            return space[name](*values)
        except Exception:
            for (kind, *rest), value in zip(arguments, values, strict=True):
                if kind == "name" and value is None:
                    raise MissingAnswer(rest[0]) from None
            raise


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
            name, text = _short(type(value).__name__, 80), _short(value, 200)
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
