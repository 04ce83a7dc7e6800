"""The `asyncgg runs` command."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncgg.cli.console import Console
from asyncgg.cli.options import DEBUG, JSON, PATH, STATE_CONNECTION, Argument, Option, make_command
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.state import copy_to_dict, describe_copy, state_connection
from asyncgg.decommission.journal import is_decommission
from asyncgg.errors import UsageError
from asyncgg.fleet.folder import FILE_NAME, is_campaign
from asyncgg.formatting import format_count
from asyncgg.models import RunState, Summary
from asyncgg.report.run_list import (
    ListedRun,
    find_journals,
    format_run_list,
    list_runs,
    run_list_to_dict,
    runs_of_state,
)

if TYPE_CHECKING:
    from asyncgg.transport import ConnectionConfig

_EPILOG = """
\b
Examples:
  asyncgg runs
  asyncgg runs /var/lib/asyncgg --json
  asyncgg runs --state s3://bucket/runs

Lists the journals in the folder and in the folders directly in it, such as the runs of a policy in its state
folder. A campaign in it is one run; give its folder for those of its targets. Of a decommission the devices
are counted. Other files with the suffix of a journal are counted, too. In a state, the name of a run for
--run is that of the folder of its journal.
"""


@make_command(
    Argument("folder", "FOLDER", "folder of the journals [default: the current one]", type=PATH, required=False),
    Option("--state", "LOCATION", "the runs of this state, s3://BUCKET/PREFIX or a folder, instead", "State"),
    STATE_CONNECTION,
    JSON,
    DEBUG,
    epilog=_EPILOG,
)
def command(folder: Path | None, *, state: str | None, **arguments: Any) -> int:
    """List runs with verdict, size, duration and age, the newest first."""
    console = Console(as_json=arguments["json"])
    with raise_on_signal():
        if state is None:
            folder = folder or Path()
            found = list_runs(folder, _others(folder))
            console.write_result(run_list_to_dict(found, folder), format_run_list(found, folder, time.time()))
        elif folder is not None:
            raise UsageError("give either FOLDER or --state; see asyncgg runs --help")
        else:
            _list_state(state, console, state_connection(arguments))
    return 0


def _others(folder: Path) -> dict[Path, Callable[[], ListedRun]]:
    """The campaigns and decommissions in `folder`, and what reads each as one run."""
    journals = [path for path in find_journals(folder) if is_decommission(path)]
    campaigns = [entry for entry in folder.iterdir() if is_campaign(entry)]
    return {
        **{path: partial(_load_decommission, path) for path in journals},
        **{path: partial(_load_campaign, path) for path in campaigns},
    }


def _load_decommission(path: Path) -> ListedRun:
    from asyncgg.decommission.journal import DecommissionJournal
    from asyncgg.decommission.report import summarize_saved

    with DecommissionJournal(path, read_only=True) as book:
        document, created_at = summarize_saved(book), float(book.meta().get("created", "0"))
    counts = document["devices"]
    state = RunState.PLANNED if document["stage"] == "plan" else RunState(document["state"])
    failed, pending = counts["refused"] + counts["failed"], counts["pending"]
    summary = Summary("", str(path), state, counts["total"], counts["done"], failed, pending)
    return ListedRun(summary, created_at, f"decommission: {document['stage']}")


def _load_campaign(folder: Path) -> ListedRun:
    from asyncgg.fleet.campaign import Campaign
    from asyncgg.fleet.results import campaign_summary

    campaign = Campaign.load(folder)
    created_at = (folder / FILE_NAME).stat().st_mtime
    source = f"campaign of {format_count(len(campaign.lanes), 'target')}"
    return ListedRun(campaign_summary(folder, campaign.results()), created_at, source)


def _list_state(location: str, console: Console, connection: ConnectionConfig) -> None:
    from asyncgg.state import read_summaries

    document, summaries = read_summaries(location, connection)
    is_running = document.holder is not None and not document.clean
    found, now = runs_of_state(summaries, location, is_running=is_running), time.time()
    lines = [*format_run_list(found, location, now), f"saved {describe_copy(document, now)}"]
    console.write_result(run_list_to_dict(found, location) | copy_to_dict(document), lines)
