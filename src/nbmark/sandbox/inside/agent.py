"""An agent in the student's kernel, which answers questions and leaves everything as it was.

A question is a tree of JSON lists (`nbmark.checks.questions` writes them):
``["name", n]  ["const", v]  ["attr", e, n]  ["item", e, e]  ["call", e, [e…], {n: e}]
["op", o, e…]  ["map", f, e]  ["probe", name, source, [e…]]``.
The answer is plain data as JSON text, which `encoder` writes. A student may have changed anything
in this process, but can only make the agent lie about the student's own values.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import operator
import os
import random
import sys

from .encoder import Encoder, TooLarge, decode, short_text

MAX_NAMES = 10_000
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
        name, message = short_text(type(error).__name__, 80), short_text(error, 2000)
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
