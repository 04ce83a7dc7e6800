"""Tests of asyncgg.report.html and of the templates."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from asyncgg.journal import CoreOutcomes, FailureGroup, OutcomeRow, RateDecision, RunStart
from asyncgg.models import RunState, Summary, ThingState
from asyncgg.report.charts import Chart
from asyncgg.report.html import bar_widths, render
from asyncgg.report.run_report import RunReport, Verdict
from asyncgg.report.timeline import TimeBin
from asyncgg.report.undo_marks import UndoMark

HOSTILE = "</script><img src=x onerror=alert(1)>\"'`|$x$ &amp; {{ 7 * 7 }}"


def make_report(text: str) -> RunReport:
    """A report in which every text is `text`."""
    summary = Summary(text, text, RunState.PARTIAL, 3, 1, 1, 1, failures={text: 1})
    row = OutcomeRow(text, text, ThingState.FAILED, text, text, 1, 0.25, text, text)
    record = {
        "finished_at": text,
        "arn": text,
        "things": {"confirmed": 1, "checked": 2, "still_associated": 1, "unchecked": 0},
    }
    return RunReport(
        summary=summary,
        meta=dict.fromkeys(("source", "account", "arn", "region", "endpoint"), text),
        verdict=Verdict("bad", text, text),
        warnings=(text,),
        next=(text,),
        starts=(RunStart("run", 1.0, 2.0, 3, 0, text, text, text, text),),
        started_at=1.0,
        ended_at=2.0,
        guards=((text, text),),
        left_out=((text, 2, text),),
        already_codes={text: 1},
        bins=(TimeBin(0.0, 1.0, 1, 0, 0, (0.1, 0.1, 0.1), 1, 0, 1),),
        decisions=(RateDecision(1.0, 30.0, text),),
        charts=(Chart(text, text, "<svg></svg>"),),
        cores=(CoreOutcomes(text, 3, 1, 0, 1, 1, 0),),
        core_count=1,
        failures=((FailureGroup(text, 1, 1, ((text, 1),), ((text, 1),), (row,)), (text,)),),
        verification=record,
        verified_before_undo=True,
        undos=(UndoMark(text, 3.0, 1, 1),),
        settings=((text, text, True),),
        generated_at=4.0,
        exports=(text,),
    )


class _Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_render_hostile_texts_stay_text() -> None:
    """A text of the service or of a file name makes no element, attribute or expression."""
    plain, hostile = (
        _Elements(render("run.html", report=make_report("x"))),
        _Elements(render("run.html", report=make_report(HOSTILE))),
    )
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert [attributes.keys() for _, attributes in hostile.tags] == [attributes.keys() for _, attributes in plain.tags]
    assert hostile.text.count("{{ 7 * 7 }}") >= 20
    assert "49" not in hostile.text


def test_render_page_allows_only_its_own_script() -> None:
    """The policy of the page has the hash of the one script, and nothing is loaded."""
    page = render("run.html", report=make_report("x"))
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert "default-src 'none'" in page
    assert not re.search(r"<(?:link|img|iframe|object)\b|\bsrc=|@import|url\((?!#)", page)


def test_render_tables_have_scopes() -> None:
    """Every header cell says whether it is of a column or of a row."""
    page = _Elements(render("run.html", report=make_report("x")))
    headers = [attributes for tag, attributes in page.tags if tag == "th"]
    assert len(headers) > 30
    assert all(attributes.get("scope") in {"col", "row"} for attributes in headers)


def test_render_says_that_charts_are_missing() -> None:
    """Without matplotlib the page names the extra, and shows the values."""
    report = replace(make_report("x"), charts=(Chart("Latency", "caption", ""),))
    page = render("run.html", report=report)
    assert "pip install &#39;asyncgg[plots]&#39;" in page or "pip install 'asyncgg[plots]'" in page
    assert "<details open><summary>Values of the charts" in page


def test_render_markdown_escapes_texts() -> None:
    """A text from outside makes no column, link, code or HTML in Markdown."""
    text = render("run.md", report=make_report(HOSTILE))
    plain = render("run.md", report=make_report("x"))
    table, code = text.split("```sh\n")
    assert "<img" not in table.replace("\\<img", "")
    assert code.count("`") == 3  # the end of the block
    unescaped = re.compile(r"(?<!\\)\|")
    for line, plain_line in zip(text.splitlines(), plain.splitlines(), strict=True):
        if plain_line.startswith("|"):
            assert len(unescaped.findall(line)) == len(unescaped.findall(plain_line))


@pytest.mark.parametrize(
    ("total", "counts", "expected"),
    [
        (13_812, (13_794, 0, 18, 0), [99.2, 0.0, 0.8, 0.0]),
        (10, (10, 0, 0, 0), [100.0, 0.0, 0.0, 0.0]),
        (0, (0, 0, 0, 0), [0.0, 0.0, 0.0, 0.0]),
        (4, (1, 1, 1, 1), [25.0, 25.0, 25.0, 25.0]),
        (1_000_000, (999_997, 1, 1, 1), [97.6, 0.8, 0.8, 0.8]),
    ],
)
def test_bar_widths_show_every_count(total: int, counts: tuple[int, ...], expected: list[float]) -> None:
    """A count above 0 is visible, and the widths are 100 % at most."""
    assert bar_widths(total, *counts) == pytest.approx(expected, abs=0.2)
    assert sum(bar_widths(total, *counts)) <= 100.01
