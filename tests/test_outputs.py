"""Outputs keep their text and pictures, and nothing that would run in a browser."""

from __future__ import annotations

from nbmark.untrusted.outputs import clean


def test_outputs_that_would_run_in_a_browser_are_left_out():
    data = {
        "text/html": "<script>",
        "application/javascript": "x",
        "image/svg+xml": "<svg>",
        "text/plain": "ok",
        "image/png": "<script>",
    }
    assert clean([{"output_type": "display_data", "data": data}]) == [
        {"output_type": "display_data", "metadata": {}, "data": {"text/plain": "ok"}}
    ]
    assert clean([7, {"output_type": "evil"}, {"output_type": "stream", "text": 3}]) == [
        {"output_type": "stream", "name": "stdout", "text": ""}
    ]
