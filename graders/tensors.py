"""Probes for live TensorFlow objects: they run beside the student's code and return plain data.

Each probe travels to the student's process as source text, so it imports what it needs itself. The
caps on names, nodes and files keep the answers of odd submissions small.
"""

from __future__ import annotations

from typing import Any


def nodes_of(graph: Any) -> dict[str, Any]:
    """Return the type and the number of values of each operation in a graph, by name.

    Only constants have a number of values; other operations have None.
    """
    import tensorflow as tf

    nodes = {}
    for op in graph.get_operations()[:500]:
        size = None
        if op.type == "Const":
            size = int(tf.make_ndarray(op.get_attr("value")).size)
        nodes[op.name] = [op.type, size]
    return nodes


def types_on_path(variable: Any, top: Any) -> list[str]:
    """Return the operation types that a value passes from a variable up to the node `top`."""

    def search(op: Any, depth: int) -> list[str] | None:
        if op is variable.op or (op.type == "ReadVariableOp" and op.inputs[0].op is variable.op):
            return []
        # The graph of the task is five operations deep, so 40 levels are generous.
        for tensor in op.inputs if depth < 40 else ():
            path = search(tensor.op, depth + 1)
            if path is not None:
                return [*path, op.type]
        return None

    # These pass a value on as it is (Cast changes only its type), so they do not count.
    passive = ("Identity", "ReadVariableOp", "Cast")
    return [op_type for op_type in search(top.op, 0) or [] if op_type not in passive]


def run_at(graph: Any, a: Any, b: Any, node: Any, points: Any) -> list[Any]:
    """Return a node's values for each pair (a, b) of values for the variables `a` and `b`."""
    import numpy as np
    import tensorflow as tf

    values = []
    with tf.compat.v1.Session(graph=graph) as session:
        for point in points:
            for variable, value in zip((a, b), point, strict=True):
                # Feeding the initial value sets variables of both kinds; resource variables
                # cannot be fed themselves.
                start = variable.initializer
                session.run(start, {start.inputs[1]: value})
            values.append(np.asarray(session.run(node), dtype=float))
    return values


def line_after(graph: Any, a: Any, b: Any, operation: Any, point: Any, steps: int) -> list[float]:
    """Run an operation `steps` times from `point`, and return the variables `a` and `b`."""
    import tensorflow as tf

    with tf.compat.v1.Session(graph=graph) as session:
        # Some optimisers keep variables of their own, which need a value as well.
        for variable in graph.get_collection("variables"):
            session.run(variable.initializer)
        for variable, value in zip((a, b), point, strict=True):
            start = variable.initializer
            session.run(start, {start.inputs[1]: value})
        for _ in range(steps):
            session.run(operation)
        return [float(session.run(variable)) for variable in (a, b)]


def traced_types(function: Any) -> list[str] | None:
    """Return the operation types of a `tf.function` of two numbers; None for a plain function."""
    import tensorflow as tf

    if not hasattr(function, "get_concrete_function"):
        return None
    spec = tf.TensorSpec([], tf.float32)
    operations = function.get_concrete_function(spec, spec).graph.get_operations()
    return [op.type for op in operations[:200]]


def nodes_in_events(folder: str) -> list[list[str]]:
    """Return the name and type of each node in the event files of a folder."""
    import os

    import tensorflow as tf

    nodes = []
    names = sorted(os.listdir(folder))[:20] if os.path.isdir(folder) else []
    for name in names:
        path = os.path.join(folder, name)
        if "tfevents" not in name or os.path.getsize(path) > 5_000_000:
            continue
        for event in tf.compat.v1.train.summary_iterator(path):
            if event.HasField("graph_def"):
                graph = tf.compat.v1.GraphDef.FromString(event.graph_def)
                nodes += [[node.name, node.op] for node in graph.node[:500]]
    return nodes


def description_of(model: Any) -> dict[str, Any] | None:
    """Return layers, weights, optimiser and loss of a Keras model as plain data.

    An object that is no model gives None. A model that was never called has no weights, and one
    that was never compiled has no optimiser and no loss.
    """
    import numpy as np

    restrictions = [f"{part}_regularizer" for part in ("kernel", "bias", "activity")]
    restrictions += ["kernel_constraint", "bias_constraint"]
    extras = "momentum nesterov weight_decay clipnorm global_clipnorm clipvalue use_ema".split()
    extras += ["loss_scale_factor", "gradient_accumulation_steps"]
    if not hasattr(model, "layers") or not hasattr(model, "get_weights"):
        return None
    # A functional model lists its input as a layer, a sequential one does not.
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    weights = [float(weight) for part in model.get_weights() for weight in np.ravel(part)]
    optimizer = getattr(model, "optimizer", None)
    settings = {} if optimizer is None else optimizer.get_config()
    rate = settings.get("learning_rate")
    # Three residuals 1, 2 and 4: their mean square is 7, whatever the loss is called.
    target = np.array([[1.0], [2.0], [4.0]], dtype="float32")
    try:
        loss = float(model.compute_loss(None, target, np.zeros_like(target)))
    except Exception:  # not compiled, or a loss that cannot be asked in this way
        loss = None
    return {
        "layers": [type(layer).__name__ for layer in layers][:50],
        "units": [getattr(layer, "units", None) for layer in layers][:50],
        "activations": [
            getattr(getattr(layer, "activation", None), "__name__", "") for layer in layers
        ],
        "restricted": [
            name
            for layer in layers
            for name in restrictions
            if getattr(layer, name, None) is not None
        ],
        "parameters": len(weights),
        "weights": weights[:50],
        "trainable": sum(int(np.size(weight)) for weight in model.trainable_weights),
        "optimizer": "" if optimizer is None else type(optimizer).__name__,
        "settings": {name: str(settings[name]) for name in extras if settings.get(name)},
        "rate": rate if isinstance(rate, float) else None,  # a schedule is no number
        "iterations": 0 if optimizer is None else int(optimizer.iterations),
        "loss": loss,
    }


def tracing_count(function: Any) -> int | None:
    """Return how many times a `tf.function` was traced; None for a plain function."""
    if not hasattr(function, "experimental_get_tracing_count"):
        return None
    return int(function.experimental_get_tracing_count())
