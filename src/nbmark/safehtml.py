"""HTML that an instructor's browser may show: what students write cannot run, ours keeps its form.

Used as ``c.HTMLExporter.filters = {"clean_html": "nbmark.safehtml.clean"}``, which nbconvert's
templates call for feedback pages and in formgrader. nbconvert's own filter drops colours,
paragraphs and line breaks.
"""

from __future__ import annotations

import bleach
from bleach.css_sanitizer import CSSSanitizer

TAGS = frozenset({
    "a", "abbr", "b", "blockquote", "br", "code", "dd", "del", "div", "dl", "dt", "em", "h1", "h2",
    "h3", "h4", "h5", "h6", "hr", "i", "img", "li", "ol", "p", "pre", "s", "span", "strong", "sub",
    "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul",
})  # fmt: skip
# A picture may stand in its own address (data:), a link may not: it could hold a page with scripts.
ATTRIBUTES = {
    "*": ["class", "id", "style", "title"],
    "a": lambda tag, name, value: name == "href" and not value.lower().lstrip().startswith("data:"),
    "img": ["alt", "height", "src", "width"],
    "td": ["align", "colspan", "rowspan"],
    "th": ["align", "colspan", "rowspan", "scope"],
}
STYLES = ["background", "border-left", "color", "font-weight", "margin", "padding", "text-align"]
_CLEANER = bleach.Cleaner(
    tags=TAGS,
    attributes=ATTRIBUTES,
    protocols=["http", "https", "mailto", "data"],
    css_sanitizer=CSSSanitizer(allowed_css_properties=STYLES),
)


def clean(element: object) -> str:
    """`element` as HTML in which only harmless tags, attributes and styles are left."""
    if isinstance(element, bytes):
        element = element.decode("utf-8", "replace")
    return str(_CLEANER.clean(str(element)))
