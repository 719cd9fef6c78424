"""Probes for live TensorFlow objects: they run beside the student's and give plain data back."""

from __future__ import annotations

from typing import Any


def nodes_of(graph: Any) -> dict[str, Any]:
    """Operation name → type and number of values (constants; else None), of a graph."""
    import tensorflow as tf

    found = {}
    for op in graph.get_operations()[:500]:
        size = None
        if op.type == "Const":
            size = int(tf.make_ndarray(op.get_attr("value")).size)
        found[op.name] = [op.type, size]
    return found


def way_from(variable: Any, top: Any) -> list[str]:
    """Types of the operations that a value passes from a variable up to the node `top`."""

    def search(op: Any, depth: int) -> list[str] | None:
        if op is variable.op or (op.type == "ReadVariableOp" and op.inputs[0].op is variable.op):
            return []
        for one in op.inputs if depth < 40 else ():
            way = search(one.op, depth + 1)
            if way is not None:
                return [*way, op.type]
        return None

    types = search(top.op, 0) or []
    return [one for one in types if one not in ("Identity", "ReadVariableOp", "Cast")]


def run_at(graph: Any, a: Any, b: Any, node: Any, points: Any) -> list[Any]:
    """Values of a node for each pair that the variables `a` and `b` are set to."""
    import numpy as np
    import tensorflow as tf

    found = []
    with tf.compat.v1.Session(graph=graph) as session:
        for point in points:
            for variable, value in zip((a, b), point, strict=True):
                start = variable.initializer
                session.run(start, {start.inputs[1]: value})
            found.append(np.asarray(session.run(node), dtype=float).tolist())
    return found


def line_after(graph: Any, a: Any, b: Any, operation: Any, point: Any, steps: int) -> list[float]:
    """Values of the variables `a` and `b` after running an operation some times from `point`."""
    import tensorflow as tf

    with tf.compat.v1.Session(graph=graph) as session:
        for variable, value in zip((a, b), point, strict=True):
            start = variable.initializer
            session.run(start, {start.inputs[1]: value})
        for _ in range(steps):
            session.run(operation)
        return [float(session.run(one)) for one in (a, b)]


def traced(function: Any) -> list[str] | None:
    """Operation types of a `tf.function` of two numbers; None for a plain function."""
    import tensorflow as tf

    if not hasattr(function, "get_concrete_function"):
        return None
    spec = tf.TensorSpec([], tf.float32)
    operations = function.get_concrete_function(spec, spec).graph.get_operations()
    return [one.type for one in operations[:200]]


def nodes_in_events(folder: str) -> list[list[str]]:
    """Name and type of the nodes in the event files of a folder."""
    import os

    import tensorflow as tf

    found = []
    names = sorted(os.listdir(folder))[:20] if os.path.isdir(folder) else []
    for name in names:
        path = os.path.join(folder, name)
        if "tfevents" not in name or os.path.getsize(path) > 5_000_000:
            continue
        for event in tf.compat.v1.train.summary_iterator(path):
            if event.HasField("graph_def"):
                graph = tf.compat.v1.GraphDef.FromString(event.graph_def)
                found += [[node.name, node.op] for node in graph.node[:500]]
    return found


def description_of(model: Any) -> dict[str, Any]:
    """Layers, size, weights, optimizer and loss of a Keras model, as plain data."""
    import numpy as np

    layers = [one for one in model.layers if type(one).__name__ != "InputLayer"]
    optimizer, loss = getattr(model, "optimizer", None), getattr(model, "loss", None)
    return {
        "layers": [type(one).__name__ for one in layers][:50],
        "units": [getattr(one, "units", None) for one in layers][:50],
        "activations": [
            getattr(getattr(one, "activation", None), "__name__", "") for one in layers
        ],
        "parameters": int(model.count_params()),
        "weights": [float(one) for part in model.get_weights() for one in np.ravel(part)][:50],
        "optimizer": type(optimizer).__name__,
        "rate": float(optimizer.learning_rate) if optimizer is not None else None,
        "iterations": int(optimizer.iterations) if optimizer is not None else None,
        "loss": loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__),
    }


def tracing_count(function: Any) -> int | None:
    """How often a `tf.function` was traced; None for a plain function."""
    if not hasattr(function, "experimental_get_tracing_count"):
        return None
    return int(function.experimental_get_tracing_count())
