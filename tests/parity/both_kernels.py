"""Cells run by stock ipykernel and by our kernel, in a form in which the two can be compared.

`cells/*.txt` holds the cells. A file is one notebook; ``=== name`` begins a group of cells and
``---`` separates two cells of a group. `differences.toml` lists where the kernels may differ.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from nbmark.sandbox.session import Session

HERE = Path(__file__).parent
CELL_TIMEOUT_S = 60
# The name of a backend or of an event loop, where a cell asks for windows.
WINDOWS = re.compile(
    r"""(?<=%matplotlib )\w+|(?<=%gui )(?:qt|tk)\b|(?<=use\(")[^"]+|(?<=switch_backend\(")[^"]+"""
    r"""|(?<=\["backend"\] = ")\w+"""
)
# Written after each group, this shows what the group's cells have left behind.
STATE = """
import os as _os, sys as _sys
print(sorted(name for name in globals() if not name.startswith("_")), _os.getcwd(),
      getattr(_sys.modules.get("matplotlib.pyplot"), "get_fignums", list)())
del _os, _sys"""
# A pattern and its replacement: text that differs from run to run, or from place to place.
VARYING = [
    (re.escape(sys.prefix), "<python>"),
    (re.escape(os.path.realpath(sys.prefix)), "<python>"),
    ("/opt/python", "<python>"),
    (r"/tmp/ipykernel_\d+/\d+\.py", "<cell>"),
    (r"/tmp/\w*?(tmp|ipython_edit_|kernel-|nbmark|matplotlib)[\w.-]*", "<temporary>"),
    (r"(clobbered these variables:) \[.*?\]", r"\1 <names>"),
    (r"\(\d+ times\)", "(<number> times)"),
    (r"0x[0-9a-f]{6,}|(?<=object at )[0-9a-f]{8,}", "<address>"),
    (r"\b[0-9a-f]{32}\b|\b[0-9a-f]{8}(-[0-9a-f]{4,12}){4}\b|\b[0-9a-f]{40}\b", "<id>"),
    (r"ipython_edit_\w+", "<temporary>"),
    (r"fd=\d+", "fd=<number>"),
    (r"Tip: .*", "Tip: <tip>"),
    (r"\b\d+(\.\d+)?(e[+-]\d+)? ?(ns|[µμu]s|ms|s|min)\b( ± .* per loop)?", "<time>"),
    (r"\b\d+\.\d+ (seconds|[µμu]s)", "<time>"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(,\d+)?|\d\d:\d\d:\d\d", "<time>"),
    (r"(pid|ident|thread id|process)[:= ]+\d+", r"\1 <number>"),
    (r"\d+it/s|\d+\.\d+it/s|\?it/s", "<rate>"),
]


@dataclass(frozen=True)
class Difference:
    """A cell that may differ from Jupyter, as `differences.toml` lists it.

    Parameters
    ----------
    reason
        Why, in words that a student could accept.
    ours
        A part of what our kernel shows.
    """

    file: str
    cell: str
    reason: str
    ours: str


@dataclass(frozen=True)
class CellResult:
    """What a cell has shown, and how it ended."""

    outputs: tuple[str, ...]
    status: str
    error: str


def read_differences() -> list[Difference]:
    """Return the table of the cells that may differ."""
    table = tomllib.loads((HERE / "differences.toml").read_text())
    return [Difference(**row) for row in table["difference"]]


def read_cells(name: str) -> dict[str, str]:
    """Return the cells of a file by their names, such as ``inline 2``, in order."""
    cells: dict[str, str] = {}
    text = (HERE / "cells" / f"{name}.txt").read_text()
    for group in re.split(r"^=== ", text, flags=re.M)[1:]:
        title, _, body = group.partition("\n")
        for number, code in enumerate(re.split(r"^---$\n?", body.rstrip("\n"), flags=re.M), 1):
            cells[f"{title} {number}"] = code.removesuffix("\n")
        cells[f"{title}: state"] = STATE
    return cells


def cells_of_all_magics(session: Session) -> dict[str, str]:
    """Return a cell for each magic that the shell has, so that new ones are compared as well."""
    listing = """
import json
magics = get_ipython().magics_manager.lsmagic()
print(json.dumps({kind: list(names) for kind, names in magics.items()}))"""
    (output,) = session.run_cell(listing, CELL_TIMEOUT_S).outputs
    magics = json.loads(output["text"])
    magics["line"].remove("pastebin")  # it sends the notebook to a public page
    arguments = {"cat": " /dev/null"}  # without a file it waits for somebody to type
    lines = {f"%{n}": f"%{n}{arguments.get(n, '')}" for n in sorted(magics["line"])}
    blocks = {f"%%{n}": f"%%{n}\nx = 1" for n in sorted(magics["cell"])}
    return {**lines, **blocks, "state": STATE}


def with_pictures(cells: dict[str, str]) -> dict[str, str]:
    """Return the cells with the inline backend in place of every backend that opens windows."""
    return {name: WINDOWS.sub("inline", code) for name, code in cells.items()}


def run_stock(cells: dict[str, str], folder: Path) -> dict[str, CellResult]:
    """Run the cells with nbclient and ipykernel, as nbgrader does."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(c) for c in cells.values()]
    )
    replies: dict[int, dict[str, Any]] = {}
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(folder)}},
        on_cell_executed=lambda cell, cell_index, execute_reply: replies.update(
            {cell_index: execute_reply["content"]}
        ),
    )
    asyncio.run(client.async_execute(env=_environment(folder)))
    return {
        # nbclient does not run a blank cell.
        name: _result(cell.outputs, replies.get(index, {"status": "ok"}), folder)
        for index, (name, cell) in enumerate(zip(cells, notebook.cells, strict=True))
    }


def run_ours(cells: dict[str, str], session: Session) -> dict[str, CellResult]:
    """Run the cells in a session of our sandbox."""
    results = {}
    for name, code in cells.items():
        run = session.run_cell(code, CELL_TIMEOUT_S)
        reply = {"status": run.status, "ename": run.error_name, "evalue": run.error_message}
        results[name] = _result(run.outputs, reply, Path("/work"))
    return results


def _environment(folder: Path) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if name.startswith(("JUPYTER", "IPY"))
    }
    return {
        **kept,
        "PATH": f"{sys.prefix}/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "USER": "root",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLCONFIGDIR": str(folder.parent / "matplotlib"),
    }


def _result(outputs: list[Any], reply: dict[str, Any], folder: Path) -> CellResult:
    texts = [_text_of(output, folder) for output in _joined(outputs)]
    error = f"{reply.get('ename', '')}: {reply.get('evalue', '')}".strip(": ")
    return CellResult(tuple(texts), reply["status"], _same(" ".join(error.split())[:300], folder))


def _joined(outputs: list[Any]) -> list[Any]:
    """Return the outputs with the text between two others joined, stdout before stderr.

    In Jupyter the two streams are sent by a clock, so their order and their parts vary.
    """
    joined: list[Any] = []
    streams: dict[str, str] = {}
    for output in [*outputs, None]:
        if output and output["output_type"] == "stream":
            streams[output["name"]] = streams.get(output["name"], "") + output["text"]
            continue
        for name in sorted(streams, reverse=True):
            joined.append({"output_type": "stream", "name": name, "text": streams[name]})
        streams = {}
        if output:
            joined.append(output)
    return joined


def _text_of(output: Any, folder: Path) -> str:
    kind = output["output_type"]
    if kind == "stream":
        return _same(f"{output['name']}: {output['text']}", folder)
    if kind == "error":
        # The frames name the files of the kernel, so only the student's own part is compared.
        text = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(output["traceback"]))
        frames = re.sub(r"^File [/<].*?(\n\n|\Z)", "", text, flags=re.S | re.M)
        return _same("\n".join(["error:", output["ename"], output["evalue"], frames]), folder)
    data = {mime: _shown(mime, value) for mime, value in sorted(output["data"].items())}
    count = output.get("execution_count") if kind == "execute_result" else None
    return _same(f"{kind} {count or ''}: {json.dumps(data, ensure_ascii=False)}", folder)


def _shown(mime: str, value: Any) -> Any:
    text = "".join(value) if isinstance(value, list) else value
    if isinstance(text, str) and mime in ("image/png", "image/jpeg", "application/pdf"):
        return hashlib.sha256(text.strip().encode()).hexdigest()[:12]
    return text


def _same(text: str, folder: Path) -> str:
    """Return the text without what varies from run to run."""
    text = re.sub(re.escape(str(folder)) + r"(?=$|\W)", "<folder>", text)
    for pattern, replacement in VARYING:
        text = re.sub(pattern, replacement, text)
    return text
