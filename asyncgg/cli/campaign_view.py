"""Shows a campaign: its present results, and the lists of all of its targets."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncgg.cli.console import Console
from asyncgg.errors import JournalError
from asyncgg.files import atomic_write_text, checked_output_path
from asyncgg.fleet.folder import FILE_NAME
from asyncgg.formatting import format_count

if TYPE_CHECKING:
    from asyncgg.fleet.campaign import Campaign
    from asyncgg.fleet.results import LaneResult


def write_results(console: Console, campaign: Campaign, results: Sequence[LaneResult] | None = None) -> int:
    """Write these results of the campaign, by default the present ones; return its exit code."""
    from asyncgg.fleet.results import campaign_exit_code, campaign_to_dict, format_campaign

    results = campaign.results() if results is None else results
    document = campaign_to_dict(campaign.folder, results, campaign.rejected)
    lines = format_campaign(campaign.folder, results, campaign.rejected)
    if campaign.unprepared:
        count, folder = format_count(len(campaign.unprepared), "target"), campaign.folder
        lines.append(f"{count} left out: the command that made {folder} adds them when it is given {folder} again")
    console.write_result(document, lines, always_print=True)
    return campaign_exit_code(results)


def show_campaign(folder: Path, arguments: Mapping[str, Any]) -> int:
    """Write the present results: `asyncgg status FOLDER`."""
    from asyncgg.fleet.campaign import Campaign

    write_results(Console(as_json=arguments["json"], quiet=True), Campaign.load(folder))
    return 0


def report_campaign(folder: Path, outputs: Mapping[str, Path | None], arguments: Mapping[str, Any]) -> int:
    """Write the results, the lists of all lanes and the pages: `asyncgg report FOLDER`.

    Returns 2 if a journal could not be read for a list.
    """
    from asyncgg.fleet.campaign import Campaign
    from asyncgg.models import ThingState
    from asyncgg.report.outcomes import write_target_outcomes

    console = Console(as_json=arguments["json"], quiet=True)
    campaign = Campaign.load(folder)
    states = {"failures": (ThingState.FAILED,), "outcomes": ()}
    paths = {name: path for name in states if (path := outputs[name]) is not None}
    for output in filter(None, outputs.values()):
        for protected in (folder / FILE_NAME, *(lane.journal for lane in campaign.lanes)):
            checked_output_path(output, protected)
    broken: dict[str, JournalError] = {}
    for name, path in paths.items():
        rows = campaign.outcomes(*states[name], on_error=broken.__setitem__)
        count = write_target_outcomes(path, rows)
        console.print(f"{path}: {format_count(count, 'thing')}")
    console.print(*(f"error: {name} is not complete in the lists: {error}" for name, error in broken.items()))
    _write_pages(campaign, {"campaign.html": outputs["html"], "campaign.md": outputs["markdown"]}, console)
    write_results(console, campaign)
    return JournalError.exit_code if broken else 0


def _write_pages(campaign: Campaign, pages: Mapping[str, Path | None], console: Console) -> None:
    """Write a page for each template with a path."""
    if not any(pages.values()):
        return
    from asyncgg.fleet.page import load_campaign_report
    from asyncgg.report.html import render
    from asyncgg.report.svg import is_available

    draw = pages["campaign.html"] is not None and is_available()
    report = load_campaign_report(campaign, generated_at=time.time(), draw=draw)
    for template, path in pages.items():
        if path is not None:
            start = path.resolve().parent
            links = {
                lane.name: os.path.relpath(lane.journal.resolve(), start)
                for lane in campaign.lanes
                if lane.journal.exists()
            }
            with atomic_write_text(path) as file:
                file.write(render(template, report=report, links=links))
            console.print(f"{path}: written")
