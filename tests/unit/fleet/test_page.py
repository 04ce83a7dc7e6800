"""Tests of asyncgg.fleet.page and of the templates of a campaign."""

from __future__ import annotations

import re
from pathlib import Path

from asyncgg.fleet.page import CampaignFailures, CampaignReport, TargetRow, merge_failures
from asyncgg.fleet.results import LaneResult
from asyncgg.journal import FailureGroup
from asyncgg.models import RunState, Summary
from asyncgg.report.charts import Chart
from asyncgg.report.html import render
from asyncgg.report.run_report import Verdict

HOSTILE = "</script><img src=x onerror=alert(1)>\"'`|$x$ &amp; {{ 7 * 7 }}"


def make_campaign_report(text: str, targets: int = 1) -> CampaignReport:
    """A report in which every text is `text`."""
    things = {"total": 4, "disassociated": 1, "already": 1, "failed": 1, "pending": 1}
    rows = []
    for number in range(targets):
        result = LaneResult(f"{text}{number}", "partial", 3, text, text, things, {"sent": number}, 1.0, {text: 1})
        rows.append(TargetRow(result, text, text, "bad", text, text, text))
    return CampaignReport(
        folder=text,
        verdict=Verdict("bad", text, text),
        summary=Summary("", text, RunState.PARTIAL, 4, 1, 1, 1, failures={text: 1}),
        left_out=(text,),
        started_at=1.0,
        ended_at=2.0,
        next=(text,),
        targets=tuple(rows),
        failures=(CampaignFailures(text, 1, 1, 1, ((text, 1),), ((text, 1),), ((text, 1),), (text,)),),
        charts=(Chart(text, text, "<svg></svg>"),),
        generated_at=3.0,
    )


def render_page(text: str, targets: int = 1) -> str:
    """The HTML page of such a report."""
    report = make_campaign_report(text, targets)
    return render("campaign.html", report=report, links={row.result.name: text for row in report.targets})


def test_render_hostile_texts_stay_text() -> None:
    """A text of the service, a target or a folder makes no element in HTML and no column in Markdown."""
    plain, hostile = render_page("x"), render_page(HOSTILE)
    tags = re.compile(r"<[a-z/][^>]*")
    assert len(tags.findall(hostile)) == len(tags.findall(plain))
    assert "{{ 7 * 7 }}" in hostile
    columns = re.compile(r"(?<!\\)\|")
    markdown = [render("campaign.md", report=make_campaign_report(text)).splitlines() for text in (HOSTILE, "x")]
    for line, plain_line in zip(*markdown, strict=True):
        if plain_line.startswith("|"):
            assert len(columns.findall(line)) == len(columns.findall(plain_line))


def test_merge_failures_adds_the_targets_by_code() -> None:
    """The code with the most things comes first, with the targets and cores that have most of them."""

    def group(code: str, things: int) -> FailureGroup:
        return FailureGroup(code, things, 2, (("denied", things),), (("core-1", things - 1), ("core-2", 1)), ())

    summary = Summary("", str(Path("camp")), RunState.PARTIAL, 100, 0, 100, 0)
    groups = {"a": [group("AccessDeniedException", 5), group("Odd", 30)], "b": [group("AccessDeniedException", 40)]}
    denied, odd = merge_failures(groups, summary)
    assert (denied.code, denied.things, denied.cores, denied.target_count) == ("AccessDeniedException", 45, 4, 2)
    assert denied.targets == (("b", 40), ("a", 5))
    assert denied.worst_cores[0] == ("b/core-1", 39)
    assert denied.messages == (("denied", 45),)
    assert denied.commands[-1] == "asyncgg retry camp"
    assert (odd.code, odd.things) == ("Odd", 30)
