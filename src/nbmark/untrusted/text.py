"""Text that a terminal, a log and a page may show: nothing invisible in it, nothing that acts."""

from __future__ import annotations

import re

# Control characters (a terminal obeys them), marks that reverse or hide text, halves of pairs.
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
# What MathJax would load, define, link to or style.
MATH = re.compile(
    r"\\(?=(?:href|url|style|class|cssId|require|def|gdef|edef|let|newcommand|renewcommand|"
    r"providecommand|newenvironment|renewenvironment|unicode|data|toggle|texttip|mathtip|"
    r"includegraphics|input|char)(?![A-Za-z]))"
)


def one_line(text: str, max_chars: int) -> str:
    """`text` on one line of at most `max_chars` characters; what would not be seen is escaped."""
    flat = re.sub(r"\s*[\r\n\t]+\s*", " ", text[: 2 * max_chars])
    found = UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", flat)
    return found if len(found) <= max_chars else found[: max_chars - 1] + "…"


def error_summary(error: BaseException) -> str:
    """Return type and first line of an error, on one line of at most 300 characters."""
    first_line = str(error).strip().partition("\n")[0]
    name = type(error).__name__
    return f"{name}: {one_line(first_line, 300)}" if first_line else name


def harmless_math(text: str) -> str:
    """TeX in which the commands that do more than set mathematics have lost their backslash."""
    return MATH.sub("", text)
