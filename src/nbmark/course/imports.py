"""The modules that a notebook imports, read from its source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

Aliases = dict[str, str]  # a name in some code → the dotted name that it stands for


def imported_by(sources: Iterable[str], modules_beside: Mapping[str, str]) -> list[str]:
    """Return dotted names of the modules, each with the attributes that the code reaches below it.

    ``import tensorflow as tf`` and ``tf.keras.Sequential(…)`` give ``tensorflow`` and
    ``tensorflow.keras.Sequential``. The end of a name may be a class instead of a module, so a
    failed import of it does no harm. It is listed because some packages load a module of theirs
    only when code reaches for it.

    Parameters
    ----------
    sources
        Cells, in order; a cell that cannot be parsed is skipped.
    modules_beside
        Module name → source of the modules shipped beside the notebook. Their own names are left
        out, their imports are not.
    """
    names: dict[str, None] = {}  # a dictionary, because it keeps the order and drops repetitions
    shipped = {name: Aliases() for name in modules_beside}
    for name, source in modules_beside.items():
        _collect([source], shipped[name], names, {})
    _collect(sources, {}, names, shipped)
    return [name for name in names if name.split(".")[0] not in modules_beside]


def _collect(
    sources: Iterable[str], aliases: Aliases, names: dict[str, None], shipped: Mapping[str, Aliases]
) -> None:
    """Add the imported names in `sources` to `names`, and their aliases to `aliases`."""
    for node in _nodes(sources):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.name] = None
                first = alias.name.split(".")[0]
                aliases[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                # A shipped module may pass on another module's name: `from quiet import tf`.
                name = shipped.get(node.module, {}).get(alias.name, name)
                names[name.removesuffix(".*")] = None
                aliases[alias.asname or alias.name] = name
        elif isinstance(node, ast.Attribute):
            name, *rest = _chain(node)
            if name in aliases:
                names[".".join([aliases[name], *rest])] = None


def _nodes(sources: Iterable[str]) -> Iterator[ast.AST]:
    for source in sources:
        with suppress(SyntaxError, ValueError):  # a magic, or a stub with a gap to fill in
            yield from ast.walk(ast.parse(source))


def _chain(node: ast.Attribute) -> list[str]:
    """Return the names in an expression such as ``a.b.c``; ``""`` first unless it is a name."""
    names = [node.attr]
    value = node.value
    while isinstance(value, ast.Attribute):
        names.append(value.attr)
        value = value.value
    first = value.id if isinstance(value, ast.Name) else ""
    return [first, *reversed(names)]
