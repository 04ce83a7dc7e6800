"""Tests of asyncgg.report.html."""

from __future__ import annotations

from asyncgg.journal import OutcomeRow
from asyncgg.models import RunState, Summary, ThingState
from asyncgg.report.html import MAX_ROWS, render_html


def _make_row(thing: str, code: str = "C", message: str = "m") -> OutcomeRow:
    return OutcomeRow("c", thing, ThingState.FAILED, code, message, 1, 0.25, "id")


def test_render_html_escapes_every_value() -> None:
    """Values of the service and file names are text on the page."""
    markup = "<script>alert('x')</script>"
    summary = Summary(markup, markup, RunState.PARTIAL, 1, 0, 1, 0, failures={markup: 1})
    meta = dict.fromkeys(("source", "account", "arn", "region", "endpoint"), markup)
    page = render_html(summary, meta, [_make_row(markup, markup, markup)], generated_at=0.0, reason=markup)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 10


def test_render_html_many_failures_lists_first_rows() -> None:
    """Above the limit the page shows the total number."""
    summary = Summary("r", "j", RunState.PARTIAL, 9_000, 0, 9_000, 0, failures={"C": 9_000})
    page = render_html(summary, {}, (_make_row(f"thing-{n}") for n in range(9_000)), generated_at=0.0)
    assert f"The first {MAX_ROWS} of 9,000 failed things" in page
    assert page.count("<td>thing-") == MAX_ROWS
