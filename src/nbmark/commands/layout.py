"""Tables that fit the terminal, one block a line where it is narrow, and everything in a log.

A `Sheet` says what its columns are for, so that the layout knows what may be shortened, wrapped or
moved to a second line. Numbers are never cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nbmark.commands.short_names import distinct, shortened
from nbmark.untrusted.text import one_line

SEPARATOR = " │ "
MIN_TEXT_CELLS = 32  # a sentence in a narrower column is harder to read than one below the name
MAX_NAME_CELLS = 40
MAX_TEXT_CHARS = 600  # on a terminal
MAX_LOG_CHARS = 20_000


@dataclass(frozen=True)
class Line:
    """One line of a sheet; the cells are in the order of the sheet's headings.

    Parameters
    ----------
    brief
        What stands for the details where they have no room.
    """

    name: str
    shorts: Sequence[str]
    texts: Sequence[str]
    details: Sequence[str] = ()
    brief: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table whose layout depends on the width.

    Parameters
    ----------
    name
        The heading of the names.
    shorts, texts, details
        The headings of short values that are always shown, of sentences that may wrap, and of short
        values that only a wide table shows.
    """

    name: str
    shorts: Sequence[str]
    texts: Sequence[str]
    lines: Sequence[Line]
    details: Sequence[str] = ()
    title: str = ""


def show(sheet: Sheet) -> None:
    """Print a sheet on standard output: as wide as the terminal, or in full in a log."""
    console = Console()
    if not console.is_terminal:
        _print_in_full(_safe(sheet, MAX_LOG_CHARS))
        return
    sheet = _safe(sheet, MAX_TEXT_CHARS)
    limit = min(max(console.width // 3, 16), MAX_NAME_CELLS)
    names = shortened([line.name for line in sheet.lines], limit)
    lines = [replace(line, name=name) for line, name in zip(sheet.lines, names, strict=True)]
    narrow = replace(sheet, lines=lines)
    brief = replace(narrow, details=(), lines=[replace(line, details=()) for line in narrow.lines])
    for candidate in (narrow, brief):
        if _needed_cells(candidate) <= console.width:
            console.print(_table(candidate, console))
            return
    _print_blocks(sheet, console)


def _safe(sheet: Sheet, max_chars: int) -> Sheet:
    """Return the sheet with harmless texts and with names that differ to the eye."""
    names = distinct([line.name for line in sheet.lines])
    lines = [
        replace(line, name=name, texts=[one_line(text, max_chars) for text in line.texts])
        for line, name in zip(sheet.lines, names, strict=True)
    ]
    return replace(sheet, lines=lines)


def _columns(sheet: Sheet) -> list[list[str]]:
    """Return the columns, each with its heading first."""
    rows = [[sheet.name, *sheet.details, *sheet.shorts, *sheet.texts]]
    rows += [[line.name, *line.details, *line.shorts, *line.texts] for line in sheet.lines]
    return [list(column) for column in zip(*rows, strict=True)]


def _needed_cells(sheet: Sheet) -> int:
    """Return the width that a readable table needs."""
    widths = [max(map(cell_len, column)) for column in _columns(sheet)]
    fixed = len(widths) - len(sheet.texts)
    texts = sum(min(width, MIN_TEXT_CELLS) for width in widths[fixed:])
    return sum(widths[:fixed]) + texts + len(SEPARATOR) * (len(widths) - 1)


def _table(sheet: Sheet, console: Console) -> Table:
    table = Table(
        title=sheet.title or None,
        title_justify="left",
        box=box.HEAVY_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    table.add_column(sheet.name, no_wrap=True)
    for heading in (*sheet.details, *sheet.shorts):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in sheet.texts:
        table.add_column(heading, overflow="fold")
    for line in sheet.lines:
        texts = [Text(text) for text in line.texts]
        if line.brief and not sheet.details:
            texts[-1].append(f"\n{line.brief}", style="dim")
        table.add_row(Text(line.name), *line.details, *line.shorts, *texts)
    return table


def _print_blocks(sheet: Sheet, console: Console) -> None:
    """Print one block a line: the name with the short values, and the sentences below."""
    if sheet.title:
        console.print(Text(sheet.title, style="italic"))
    values = [
        ", ".join(map(": ".join, zip(sheet.shorts, line.shorts, strict=True)))
        for line in sheet.lines
    ]
    room = max(console.width - max(map(cell_len, values), default=0) - 2, 16)
    names = shortened([line.name for line in sheet.lines], room)
    for name, value, line in zip(names, values, sheet.lines, strict=True):
        console.print(Text(name, style="bold").append(f"  {value}", style="not bold"))
        for heading, text in zip(sheet.texts, line.texts, strict=True):
            label = f"{heading}: " if len(sheet.texts) > 1 else ""
            if text:
                console.print(Padding(Text(label + text, overflow="fold"), (0, 0, 0, 2)))
        if line.brief:
            console.print(Padding(Text(line.brief, style="dim"), (0, 0, 0, 2)))


def _print_in_full(sheet: Sheet) -> None:
    """Print each line of a sheet as one line of text, however long it is."""
    if sheet.title:
        click.echo(sheet.title)
    columns = _columns(sheet)
    widths = [max(map(cell_len, column)) for column in columns]
    widths[0] = min(widths[0], MAX_NAME_CELLS)  # a longer name moves the rest of its own line only
    first_text = len(columns) - len(sheet.texts)
    for row in zip(*columns, strict=True):
        cells = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            padding = " " * (width - cell_len(cell))
            cells.append(padding + cell if 0 < number < first_text else cell + padding)
        click.echo(SEPARATOR.join(cells).rstrip())
