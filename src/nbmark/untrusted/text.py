"""Text made safe for a terminal, a log or a page: no invisible characters, nothing that acts."""

from __future__ import annotations

import re

# A terminal obeys control characters, some marks reverse or hide the text around them, and lone
# surrogates cannot be written to a file.
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
# MathJax obeys these commands when a page is shown: they load files, define macros, link or style.
MATH = re.compile(
    r"\\(?=(?:href|url|style|class|cssId|require|def|gdef|edef|let|newcommand|renewcommand|"
    r"providecommand|newenvironment|renewenvironment|unicode|data|toggle|texttip|mathtip|"
    r"includegraphics|input|char)(?![A-Za-z]))"
)


def one_line(text: str, max_chars: int) -> str:
    """Return `text` on one line of at most `max_chars` characters, invisible ones escaped."""
    # Cutting first keeps the substitutions cheap, however long a student's text is. Twice the limit
    # leaves room for line breaks and the spaces around them, which shrink to one space.
    flat = re.sub(r"\s*[\r\n\t]+\s*", " ", text[: 2 * max_chars])
    escaped = UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", flat)
    return escaped if len(escaped) <= max_chars else escaped[: max_chars - 1] + "…"


def error_summary(error: BaseException) -> str:
    """Return type and first line of an error, on one line of at most 300 characters."""
    first_line = str(error).strip().partition("\n")[0]
    name = type(error).__name__
    return f"{name}: {one_line(first_line, 300)}" if first_line else name


def harmless_math(text: str) -> str:
    """Return TeX without the backslash of each command that does more than set mathematics."""
    return MATH.sub("", text)
