"""HTML that an instructor's browser may show: what students write cannot run, ours keeps its form.

Used as ``c.HTMLExporter.filters``, which nbconvert's templates call for feedback pages and in
formgrader: ``clean_html`` for what nbconvert and nbmark made, ``markdown2html`` for what students
wrote (formgrader's own template cleans nothing there).
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

import bleach
from bleach.css_sanitizer import CSSSanitizer
from jinja2 import pass_context
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from nbmark.untrusted.text import harmless_math

TAGS = frozenset(
    {
        "a",
        "abbr",
        "b",
        "blockquote",
        "br",
        "code",
        "dd",
        "del",
        "div",
        "dl",
        "dt",
        "em",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "li",
        "ol",
        "p",
        "pre",
        "s",
        "span",
        "strong",
        "sub",
        "sup",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "u",
        "ul",
    }
)
# Classes of highlighted code; others are the page's own, and some of those cover it.
CLASSES = re.compile(r"(?:highlight|hl-\w+|[a-z][a-z0-9]{0,2})(?: (?:highlight|hl-\w+))*")
# A picture in its own address, or a file beside the notebook. Another machine would learn who
# looks, and an address of this server would be asked with the instructor's rights.
PICTURE = re.compile(
    r"data:image/(?:png|jpeg|gif);base64,[A-Za-z0-9+/=\s]*|\w[\w-]*(?:[./][\w-]+)*\.(?:png|jpe?g)"
)
CODE = re.compile(r"(<pre\b.*?</pre>|<code\b.*?</code>)", re.S)
OUR_STYLES = ["background-color", "border-left", "color", "margin", "padding", "text-align"]
THEIR_STYLES = ["background-color", "color", "font-weight", "text-align"]


def clean(element: object) -> str:
    """`element` as HTML in which only harmless tags, attributes and styles are left."""
    if isinstance(element, bytes):
        element = element.decode("utf-8", "replace")
    return str(_OURS.clean(str(element)))


@pass_context
def markdown(context: Any, source: str) -> str:
    """A text cell as HTML; what its author wrote as HTML, TeX or a link does nothing but show."""
    cell, resources = context.get("cell", {}), context.get("resources", {})
    renderer = IPythonRenderer(
        escape=False,
        attachments=cell.get("attachments", {}),
        path=resources.get("metadata", {}).get("path", ""),
        exclude_anchor_links=True,
    )
    try:
        rendered = MarkdownWithMath(renderer=renderer).render(source)
    except Exception:  # an attachment that is not there, nesting without end: shown as it is
        rendered = f"<pre>{escape(source)}</pre>"
    cleaned = str(_THEIRS.clean(rendered))
    parts = CODE.split(cleaned)
    return "".join(part if number % 2 else harmless_math(part) for number, part in enumerate(parts))


def _attribute(tag: str, name: str, value: str) -> bool:
    if name == "class":
        return CLASSES.fullmatch(value.strip()) is not None
    if tag == "img" and name == "src":
        return PICTURE.fullmatch(value) is not None
    if tag == "a" and name == "href":
        return value.lower().startswith(("http://", "https://", "mailto:"))
    allowed = {
        "img": ("alt", "height", "width"),
        "td": ("align", "colspan", "rowspan"),
        "th": ("align", "colspan", "rowspan", "scope"),
    }
    return name in ("style", "title", *allowed.get(tag, ()))


def _cleaner(styles: list[str]) -> bleach.Cleaner:
    return bleach.Cleaner(
        tags=TAGS,
        attributes=_attribute,
        protocols=["http", "https", "mailto", "data"],
        css_sanitizer=CSSSanitizer(allowed_css_properties=styles),
    )


_OURS, _THEIRS = _cleaner(OUR_STYLES), _cleaner(THEIR_STYLES)
