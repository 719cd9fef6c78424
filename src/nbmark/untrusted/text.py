"""Text made safe for a terminal, a log or a page: no invisible characters, nothing that acts."""

from __future__ import annotations

import re

# A terminal obeys control characters, some marks reverse or hide the text around them, some letters
# have no shape, and lone surrogates cannot be written to a file.
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e0fff]"
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
    shown = UNSAFE.sub(lambda match: escaped(match[0]), flat)
    return shown if len(shown) <= max_chars else shown[: max_chars - 1] + "…"


def escaped(character: str) -> str:
    """Return Python's escape of a character, ``\\u202e`` for instance."""
    number = ord(character)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def error_summary(error: BaseException) -> str:
    """Return type and first line of an error, on one line of at most 300 characters."""
    first_line = str(error).strip().partition("\n")[0]
    name = type(error).__name__
    return f"{name}: {one_line(first_line, 300)}" if first_line else name


def harmless_math(text: str) -> str:
    """Return TeX without the backslash of each command that does more than set mathematics."""
    return MATH.sub("", text)
