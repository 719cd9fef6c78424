"""What a student's cell printed, made safe to store and to show to an instructor.

Text and pictures pass. HTML, JavaScript, SVG and widgets do not: they would run in the browser of
whoever opens the autograded notebook. Their plain text, which every rich output has, is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nbmark.notebooks import PICTURES, is_base64
from nbmark.untrusted.text import harmless_math

MAX_TEXT = 100_000
MAX_OUTPUTS = 200
TEXT_TYPES = ("text/plain", "text/latex")
CUT = "\n[The output was longer and was cut here.]\n"


def clean(outputs: Sequence[Any], *, truncated: bool = False) -> list[dict[str, Any]]:
    """The outputs in nbformat's form; anything that is not as it should be is left out."""
    found = [one for one in map(_clean_one, outputs[:MAX_OUTPUTS]) if one is not None]
    if truncated or len(outputs) > MAX_OUTPUTS:
        found.append({"output_type": "stream", "name": "stdout", "text": CUT})
    return found


def _clean_one(output: Any) -> dict[str, Any] | None:
    if not isinstance(output, Mapping):
        return None
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return {"output_type": "stream", "name": name, "text": _text(output.get("text"))}
    if kind == "error":
        lines = output.get("traceback")
        return {
            "output_type": "error",
            "ename": _text(output.get("ename")),
            "evalue": _text(output.get("evalue")),
            "traceback": [_text(one) for one in lines[:200]] if isinstance(lines, list) else [],
        }
    if kind in ("display_data", "execute_result") and isinstance(output.get("data"), Mapping):
        found: dict[str, Any] = {"output_type": kind, "metadata": {}, "data": _data(output["data"])}
        if kind == "execute_result":
            count = output.get("execution_count")
            found["execution_count"] = count if type(count) is int else None
        return found
    return None


def _data(data: Mapping[Any, Any]) -> dict[str, str]:
    found = {mime: _text(data[mime]) for mime in TEXT_TYPES if mime in data}
    if "text/latex" in found:
        found["text/latex"] = harmless_math(found["text/latex"])
    found.update({mime: data[mime] for mime in PICTURES if is_base64(data.get(mime))})
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    text = value if len(value) <= MAX_TEXT else value[:MAX_TEXT] + CUT
    return text.encode("utf-8", "replace").decode()
