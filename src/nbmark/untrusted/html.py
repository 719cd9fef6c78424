"""HTML for an instructor's browser: students' HTML is made harmless, ours keeps its layout.

The course's configuration sets both functions as ``c.HTMLExporter.filters``, which nbconvert's
templates call for feedback pages and in formgrader: `clean` for the HTML that nbconvert and nbmark
made, `markdown` for students' text cells (formgrader's own template cleans nothing there).
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

import nh3
from jinja2 import pass_context
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from nbmark.untrusted.text import harmless_math

TAGS = set(
    """
    a abbr b blockquote br code dd del div dl dt em h1 h2 h3 h4 h5 h6 hr i img li ol p pre s span
    strong sub sup table tbody td tfoot th thead tr u ul
    """.split()
)
ATTRIBUTES = {
    "*": {"class", "style", "title"},
    "a": {"href"},
    "img": {"alt", "height", "src", "width"},
    "td": {"align", "colspan", "rowspan"},
    "th": {"align", "colspan", "rowspan", "scope"},
}
# nh3 drops a tag that is not allowed. A student who writes `List<int>` means text, so it is escaped
# before nh3 reads it and stays readable. nh3 alone decides which tags pass.
NOT_A_TAG = re.compile(rf"<(?!/?(?:{'|'.join(sorted(TAGS))})(?=[\s/>]))", re.I | re.A)
# Nobody sees a comment in a notebook, so it must not become text here.
COMMENT = re.compile(r"<!--.*?(?:-->|$)", re.S)
# Only the classes of highlighted code. Other classes belong to the page, and some could cover it.
CLASSES = re.compile(r"(?:highlight|hl-\w+|[a-z][a-z0-9]{0,2})(?: (?:highlight|hl-\w+))*")
# A picture in a data URL, or a file beside the notebook. Any other address would tell
# another machine that the page was opened, or make the browser ask this server for something with
# the instructor's rights.
PICTURE = re.compile(
    r"data:image/(?:png|jpeg|gif);base64,[A-Za-z0-9+/=\s]*|\w[\w-]*(?:[./][\w-]+)*\.(?:png|jpe?g)"
)
LINK = re.compile(r"(?:https?://|mailto:)", re.I)
# A style that loads something, or spells its words with escapes.
FETCHES = re.compile(r"url|image|\\|@", re.I)
CODE = re.compile(r"(<pre\b.*?</pre>|<code\b.*?</code>)", re.S)
OUR_STYLES = {"background-color", "border-left", "color", "margin", "padding", "text-align"}
THEIR_STYLES = {"background-color", "color", "font-weight", "text-align"}


def clean(element: object) -> str:
    """Return `element` as HTML with only harmless tags, attributes and styles."""
    if isinstance(element, bytes):
        element = element.decode("utf-8", "replace")
    return _sanitize(str(element), _OURS)


@pass_context
def markdown(context: Any, source: str) -> str:
    """Return a text cell as HTML, in which the author's own HTML, TeX and links cannot act."""
    cell, resources = context.get("cell", {}), context.get("resources", {})
    renderer = IPythonRenderer(
        escape=False,
        attachments=cell.get("attachments", {}),
        path=resources.get("metadata", {}).get("path", ""),
        exclude_anchor_links=True,
    )
    try:
        rendered = MarkdownWithMath(renderer=renderer).render(source)
    except Exception:  # a missing attachment, endless nesting: the cell is shown as it was typed
        rendered = f"<pre>{escape(source)}</pre>"
    parts = CODE.split(_sanitize(rendered, _THEIRS))
    # MathJax leaves code alone, so TeX in code may stay as it is.
    return "".join(part if number % 2 else harmless_math(part) for number, part in enumerate(parts))


def _sanitize(html: str, cleaner: nh3.Cleaner) -> str:
    # nh3 takes no lone surrogates, which JSON can hold.
    text = html.encode("utf-8", "replace").decode()
    return cleaner.clean(NOT_A_TAG.sub("&lt;", COMMENT.sub("", text)))


def _attribute(tag: str, name: str, value: str) -> str | None:
    """Return the value of an attribute, or None if it has to go."""
    allowed = {
        ("class", tag): CLASSES.fullmatch(value.strip()),
        ("src", "img"): PICTURE.fullmatch(value),
        ("href", "a"): LINK.match(value),
        ("style", tag): not FETCHES.search(value),
    }.get((name, tag), True)
    return value if allowed else None


def _cleaner(styles: set[str]) -> nh3.Cleaner:
    return nh3.Cleaner(
        tags=TAGS,
        # nh3 would drop the text in script and style elements, which is escaped by now.
        clean_content_tags=set(),
        attributes=ATTRIBUTES,
        attribute_filter=_attribute,
        url_schemes={"http", "https", "mailto", "data"},
        filter_style_properties=styles,
    )


_OURS, _THEIRS = _cleaner(OUR_STYLES), _cleaner(THEIR_STYLES)
