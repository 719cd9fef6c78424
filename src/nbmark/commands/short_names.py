"""Names that fit a column and stay different."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from rich.cells import cell_len

from nbmark.untrusted.names import printable_name


def distinct(names: Sequence[str]) -> list[str]:
    """Return printable names; those that look alike but differ in normalisation are escaped."""
    printable = [printable_name(name) for name in names]
    looks = [unicodedata.normalize("NFC", name) for name in printable]
    times = Counter(looks)
    return [
        name.encode("ascii", "backslashreplace").decode() if times[look] > 1 else name
        for name, look in zip(printable, looks, strict=True)
    ]


def shortened(names: Sequence[str], cells: int) -> list[str]:
    """Return the names with at most `cells` cells each, long ones shortened in the middle.

    No two of them are the same, as long as no two of `names` are.
    """
    short = {name: name for name in names if cell_len(name) <= cells}
    pending = sorted(set(names) - short.keys())
    room = cells - 1
    # Where names differ only in the middle, a longer end shows the difference.
    for tail in range(room // 3, room + 1):
        forms = {name: _head(name, room - tail) + "…" + _tail(name, tail) for name in pending}
        times = Counter([*short.values(), *forms.values()])
        short |= {name: form for name, form in forms.items() if times[form] == 1}
        pending = [name for name in pending if name not in short]
        if not pending:
            break
    for number, name in enumerate(pending, start=1):
        short[name] = _head(name, room - len(str(number)) - 1) + f"…#{number}"
    return [short[name] for name in names]


def _head(name: str, cells: int) -> str:
    width = 0
    for index, character in enumerate(name):
        width += cell_len(character)
        if width > cells:
            return name[:index]
    return name


def _tail(name: str, cells: int) -> str:
    width = 0
    for index in range(len(name), 0, -1):
        width += cell_len(name[index - 1])
        if width > cells:
            tail = name[index:]
            break
    else:
        tail = name
    # An accent must not move from the letter that is cut off to the ellipsis.
    return tail.lstrip("".join(mark for mark in tail if unicodedata.combining(mark)))
