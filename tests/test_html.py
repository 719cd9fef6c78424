"""HTML that a student wrote stays readable, and nothing in it runs or loads anything."""

from __future__ import annotations

import pytest

from nbmark.untrusted.html import clean, markdown

CONTEXT = {"cell": {}, "resources": {}}


def rendered(source: str) -> str:
    """Return the HTML of a Markdown cell."""
    return markdown(CONTEXT, source).strip()


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("a < b && c > d", "<p>a &lt; b &amp;&amp; c &gt; d</p>"),
        ("x<y and z>3", "<p>x&lt;y and z&gt;3</p>"),
        (
            "a List<int>, a Map<K, List<V>>",
            "<p>a List&lt;int&gt;, a Map&lt;K, List&lt;V&gt;&gt;</p>",
        ),
        ("`List<int>`", "<p><code>List&lt;int&gt;</code></p>"),
        ("```\nif a<b & c: f()\n```", "<pre><code>if a&lt;b &amp; c: f()\n</code></pre>"),
        ("$a<b$ and $$\\frac{a}{b} \\alpha$$", "<p>$a&lt;b$ and $$\\frac{a}{b} \\alpha$$</p>"),
        ("R&D, &lt;b&gt;", "<p>R&amp;D, &lt;b&gt;</p>"),
        ('<b style="color: red">b</b>', '<p><b style="color:red">b</b></p>'),
        ("![plot](plot.png)", '<p><img src="plot.png" alt="plot"></p>'),
    ],
)
def test_the_text_of_a_student_stays_readable(source, html):
    assert rendered(source) == html


def test_the_text_of_a_refused_element_stays_readable():
    assert rendered("<script>alert(1)</script>") == "&lt;script&gt;alert(1)&lt;/script&gt;"
    style = rendered("<style>body{color:red}</style>")
    assert "&lt;style&gt;body{color:red}&lt;/style&gt;" in style


def test_a_comment_stays_hidden_with_everything_in_it():
    assert rendered("a <!-- <img src='a.png'> --> b") == "<p>a  b</p>"
    assert clean("a<!-- for colleagues") == "a"


def test_a_lone_surrogate_is_replaced():
    assert clean("\ud800<b>x</b>") == "?<b>x</b>"


@pytest.mark.parametrize(
    "style",
    [
        "position:fixed",
        "background-color:url(http://192.0.2.1/)",
        "background-color:u\\72l(http://192.0.2.1/)",
        "background:red;color:image-set('x')",
        "--x:1",
        "@import 'x'",
    ],
)
def test_a_style_cannot_cover_the_page_or_load_anything(style):
    html = rendered(f'<b style="{style}">b</b>')
    assert html in ("<p><b>b</b></p>", '<p><b style="">b</b></p>')


def test_feedback_may_use_styles_that_students_may_not():
    box = '<div style="border-left:4px solid #8a1c12;margin:4px 0">x</div>'
    assert clean(box) == box
    assert "border-left" not in rendered(box)


@pytest.mark.parametrize(
    "html",
    [
        "<script>x</script>",
        "<img src=x onerror=x>",
        '<a href="javascript:x">',
        '<a href="data:text/html,x">',
        "<iframe src=x>",
        '<p style="position:fixed">',
    ],
)
def test_html_of_a_student_cannot_run(html):
    cleaned = clean(html)
    for forbidden in ("<script", "onerror", "href", "<iframe", "position"):
        assert forbidden not in cleaned
