"""Shows a campaign: its present results, and the lists of all of its targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncgg.cli.console import Console
from asyncgg.errors import UsageError
from asyncgg.formatting import format_count

if TYPE_CHECKING:
    from asyncgg.fleet.campaign import Campaign
    from asyncgg.fleet.results import LaneResult


def write_campaign(console: Console, folder: Path, *, only: Sequence[str] | None = None) -> int:
    """Write the results of the lanes, or of those named `only`; return the exit code of the campaign."""
    from asyncgg.fleet.campaign import Campaign

    campaign = Campaign.load(folder)
    return write_results(console, campaign, campaign.results(only))


def write_results(console: Console, campaign: Campaign, results: Sequence[LaneResult]) -> int:
    """Write these results of the campaign; return its exit code."""
    from asyncgg.fleet.results import campaign_exit_code, campaign_to_dict, format_campaign

    document = campaign_to_dict(campaign.folder, results, campaign.rejected)
    lines = format_campaign(campaign.folder, results, campaign.rejected)
    console.write_result(document, lines, always_print=True)
    return campaign_exit_code(results)


def show_campaign(folder: Path, arguments: Mapping[str, Any]) -> int:
    """Write the present results: `asyncgg status FOLDER`."""
    write_campaign(Console(as_json=arguments["json"], quiet=True), folder)
    return 0


def report_campaign(folder: Path, outputs: Mapping[str, Path | None], arguments: Mapping[str, Any]) -> int:
    """Write the results and the lists of all lanes: `asyncgg report FOLDER`.

    Raises `UsageError` for a page, which only a single run has.
    """
    from asyncgg.fleet.campaign import Campaign
    from asyncgg.models import ThingState
    from asyncgg.report.outcomes import format_from_suffix, write_target_outcomes

    if pages := [f"--{name}" for name in ("html", "markdown") if outputs[name] is not None]:
        raise UsageError(f"{pages[0]} needs the journal of one target: asyncgg report {folder}/TARGET.journal")
    console = Console(as_json=arguments["json"], quiet=True)
    campaign = Campaign.load(folder)
    states = {"failures": (ThingState.FAILED,), "outcomes": ()}
    paths = {name: path for name in states if (path := outputs[name]) is not None}
    for path in paths.values():
        format_from_suffix(path)
    for name, path in paths.items():
        count = write_target_outcomes(path, campaign.outcomes(*states[name]))
        console.print(f"{path}: {format_count(count, 'thing')}")
    write_campaign(console, folder)
    return 0
