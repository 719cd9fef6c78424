"""Causes: the cell whose error explains why a later one finds a name without a value."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence

from nbmark.notebooks import Cell

# A student may send a cell of many megabytes, and parsing takes memory.
MAX_PARSED_CHARS = 100_000
ANY_NAME = "*"  # `from helpers import *` may give a value to any name
MAGIC = re.compile(r"^([ \t]*)[%!?].*$", re.M)
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# For a cell that Python cannot parse: what its lines would give a value to.
ASSIGNMENT = re.compile(r"^[ \t]*([A-Za-z_][\w, ]*)=(?!=)", re.M)
DEFINITION = re.compile(r"^[ \t]*(?:def|class|import \w+ as|import) (\w+)", re.M)


class Causes:
    """The names to which each cell of a notebook would give a value.

    Parameters
    ----------
    name_missed_by
        Cell index → the name whose absence ended that cell in an error, empty for other cells.
    has_trouble
        Cell index → whether something went wrong in that cell.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        has_trouble: Callable[[int], bool],
        name_missed_by: Callable[[int], str],
    ) -> None:
        self._cells = cells
        self._has_trouble = has_trouble
        self._name_missed_by = name_missed_by
        self._names: dict[int, set[str]] = {}

    def of_missing(self, name: str, before: int) -> int | None:
        """Return the first cell before `before` that went wrong and so left `name` without value.

        If that cell only missed a name itself, the cell that left that one without a value is the
        cause, and so on.
        """
        cause = None
        while name:
            assigning = (i for i in range(before) if self._has_trouble(i) and self._gives(i, name))
            before = next(assigning, -1)
            if before < 0:
                break
            cause, name = before, self._name_missed_by(before)
        return cause

    def later(self, name: str, start: int) -> int | None:
        """Return the first cell from `start` on that gives `name` a value."""
        return next((i for i in range(start, len(self._cells)) if name in self._assigned(i)), None)

    def _gives(self, index: int, name: str) -> bool:
        return not self._assigned(index).isdisjoint({name, ANY_NAME})

    def _assigned(self, index: int) -> set[str]:
        if index not in self._names:
            cell = self._cells[index]
            self._names[index] = assigned_names(cell.source) if cell.kind == "code" else set()
        return self._names[index]


def assigned_names(source: str) -> set[str]:
    """Return the names to which a cell gives a value outside its functions, "*" for any name."""
    source = MAGIC.sub(r"\1pass", source[:MAX_PARSED_CHARS])
    try:
        return set(_assigned_in(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        texts = [match[1] for match in ASSIGNMENT.finditer(source)]
        texts += [match[1] for match in DEFINITION.finditer(source)]
        return {name.strip() for text in texts for name in text.split(",")}


def _assigned_in(tree: ast.AST) -> Iterator[str]:
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, FUNCTION):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name.split(".")[0]
        elif not isinstance(node, ast.Lambda):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            nodes += ast.iter_child_nodes(node)
