"""The outputs of a student's cell, made safe to store and to show to an instructor.

Text and pictures pass. HTML, JavaScript, SVG and widgets do not, because they would run in the
browser of anybody who opens the autograded notebook. Every rich output also has plain text, which
is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nbmark.notebooks import PICTURES, is_base64
from nbmark.untrusted.text import harmless_math

# A cell may print without end. The page with its outputs must stay small enough for a browser.
MAX_TEXT = 100_000
MAX_OUTPUTS = 200
MAX_TRACEBACK_LINES = 200
TEXT_TYPES = ("text/plain", "text/latex")
CUT = "\n[The output was longer and was cut here.]\n"


def clean(outputs: Sequence[Any], *, truncated: bool = False) -> list[dict[str, Any]]:
    """Return the outputs in nbformat's form, without those that are malformed.

    Parameters
    ----------
    truncated
        Whether the sandbox has dropped some outputs already, so that a note must say so.
    """
    cleaned = [output for output in map(_clean_output, outputs[:MAX_OUTPUTS]) if output is not None]
    if truncated or len(outputs) > MAX_OUTPUTS:
        cleaned.append({"output_type": "stream", "name": "stdout", "text": CUT})
    return cleaned


def _clean_output(output: Any) -> dict[str, Any] | None:
    if not isinstance(output, Mapping):
        return None
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return {"output_type": "stream", "name": name, "text": _text(output.get("text"))}
    if kind == "error":
        traceback = output.get("traceback")
        lines = traceback[:MAX_TRACEBACK_LINES] if isinstance(traceback, list) else []
        return {
            "output_type": "error",
            "ename": _text(output.get("ename")),
            "evalue": _text(output.get("evalue")),
            "traceback": [_text(line) for line in lines],
        }
    if kind in ("display_data", "execute_result") and isinstance(output.get("data"), Mapping):
        rich = {"output_type": kind, "metadata": {}, "data": _data(output["data"])}
        if kind == "execute_result":
            count = output.get("execution_count")
            # The exact type, because True is an int too and would make an invalid notebook.
            rich["execution_count"] = count if type(count) is int else None
        return rich
    return None


def _data(data: Mapping[Any, Any]) -> dict[str, str]:
    """Return the harmless formats of a rich output."""
    formats = {mime: _text(data[mime]) for mime in TEXT_TYPES if mime in data}
    if "text/latex" in formats:
        formats["text/latex"] = harmless_math(formats["text/latex"])
    # A page shows a picture inside an attribute. Base64 holds no quotation mark that could end it.
    formats.update({mime: data[mime] for mime in PICTURES if is_base64(data.get(mime))})
    return formats


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    text = value if len(value) <= MAX_TEXT else value[:MAX_TEXT] + CUT
    # UTF-8 has no lone surrogates, so one of them would stop the notebook from being written.
    return text.encode("utf-8", "replace").decode()
