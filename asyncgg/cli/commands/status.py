"""The `asyncgg status` command."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from asyncgg.cli.campaign_view import show_campaign
from asyncgg.cli.console import Console
from asyncgg.cli.decommission_show import show_decommission
from asyncgg.cli.options import DEBUG, JOURNAL_OR_STATE, JSON, READ_STATE, RUN_OF_STATE, make_command
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.state import open_journal
from asyncgg.decommission.journal import is_decommission
from asyncgg.fleet.folder import is_campaign
from asyncgg.journal import JournalReader
from asyncgg.report import format_summary, summary_to_dict
from asyncgg.report.summary import format_next_commands

_EPILOG = """
\b
Examples:
  asyncgg status RUN.journal
  asyncgg status RUN.journal --json
  asyncgg status CAMPAIGN
  asyncgg status --state s3://bucket/runs

A run of a state is shown as it was saved last, at most every 30 s while it is running.
"""


@make_command(JOURNAL_OR_STATE, READ_STATE, RUN_OF_STATE, JSON, DEBUG, epilog=_EPILOG)
def command(journal: Path | None, *, run: str | None, **arguments: Any) -> int:
    """Show counts, rate and time left of a run; also while it is running."""
    if journal is not None and is_campaign(journal):
        return show_campaign(journal, arguments)
    if journal is not None and is_decommission(journal):
        return show_decommission(journal, None, arguments)
    with raise_on_signal(), open_journal(journal, run, arguments) as opened, JournalReader(opened.path) as reader:
        status = opened.read_status(reader)
    summary = status.summary
    document = summary_to_dict(summary, reason=status.reason) | status.to_dict() | opened.to_dict()
    lines = format_summary(summary, reason=status.reason)
    if status.running:
        lines.append(f"  rate       {status.format_rate()}")
        if limit := status.format_limit():
            lines.append(f"  limit      {limit}")
    if left := status.format_left():
        lines.append(f"  left       {left}")
    if status.retry_wait is not None:
        lines.append(f"  waiting    {status.retry_wait.describe(status.now)}")
    if copy := opened.describe_copy(time.time()):
        lines.append(f"  saved      {copy}")
    if not status.running:
        lines += format_next_commands(summary)
    Console(as_json=arguments["json"]).write_result(document, lines)
    return 0
