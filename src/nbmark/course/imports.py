"""Which modules a notebook imports, read from its source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

Aliases = dict[str, str]  # a name in some code → the dotted name of what it stands for


def imported_by(sources: Iterable[str], beside: Mapping[str, str]) -> list[str]:
    """Dotted names of the modules, each with what the code reaches for below it.

    ``import tensorflow as tf`` and ``tf.keras.Sequential(…)`` give ``tensorflow`` and
    ``tensorflow.keras.Sequential``: what is no module at the end of a name may be left out, but a
    package that imports its parts when they are asked for can only be known so.

    Parameters
    ----------
    sources
        Cells, in order; what cannot be parsed is passed over.
    beside
        Module name → source of what is shipped beside the notebook. These modules are left out
        themselves; what they import counts.
    """
    found: dict[str, None] = {}
    shipped = {name: Aliases() for name in beside}
    for name, source in beside.items():
        _look([source], shipped[name], found, {})
    _look(sources, {}, found, shipped)
    return [name for name in found if name.split(".")[0] not in beside]


def _look(
    sources: Iterable[str], aliases: Aliases, found: dict[str, None], shipped: Mapping[str, Aliases]
) -> None:
    for node in _nodes(sources):
        if isinstance(node, ast.Import):
            for one in node.names:
                found[one.name] = None
                first = one.name.split(".")[0]
                aliases[one.asname or first] = one.name if one.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for one in node.names:
                name = f"{node.module}.{one.name}"
                name = shipped.get(node.module, {}).get(one.name, name)
                found[name.removesuffix(".*")] = None
                aliases[one.asname or one.name] = name
        elif isinstance(node, ast.Attribute):
            name, *rest = _chain(node)
            if name in aliases:
                found[".".join([aliases[name], *rest])] = None


def _nodes(sources: Iterable[str]) -> Iterator[ast.AST]:
    for source in sources:
        with suppress(SyntaxError, ValueError):  # a magic, or a stub with a gap
            yield from ast.walk(ast.parse(source))


def _chain(node: ast.Attribute) -> list[str]:
    """``a.b.c`` as its three names; the first is empty if it is anything but a name."""
    names = [node.attr]
    value = node.value
    while isinstance(value, ast.Attribute):
        names.append(value.attr)
        value = value.value
    first = value.id if isinstance(value, ast.Name) else ""
    return [first, *reversed(names)]
