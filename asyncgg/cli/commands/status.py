"""The `asyncgg status` command."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.console import Console
from asyncgg.cli.options import DEBUG, JOURNAL_OR_STATE, JSON, READ_STATE, Option, make_command
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.state import open_journal
from asyncgg.formatting import format_duration
from asyncgg.journal import JournalReader
from asyncgg.ratelimit import expected_rate
from asyncgg.report import format_summary, summary_to_dict
from asyncgg.report.summary import format_next_commands

_EPILOG = """
\b
Examples:
  asyncgg status RUN.journal
  asyncgg status RUN.journal --watch
  asyncgg status RUN.journal --json
  asyncgg status --state s3://bucket/runs
"""

_RATE_WINDOW: Final = 10.0
"""Seconds over which the rate is measured."""
_WATCH_INTERVAL: Final = 2.0


@make_command(
    JOURNAL_OR_STATE,
    READ_STATE,
    Option("--watch", help="print a line every 2 s until the run has ended"),
    JSON,
    DEBUG,
    epilog=_EPILOG,
)
def command(journal: Path | None, *, state: str | None, watch: bool, **arguments: Any) -> int:
    """Show counts, rate and time left of a run; also while it is running."""
    console = Console(as_json=arguments["json"])
    with raise_on_signal():
        document, lines = _read_status(journal, state)
        while watch and document["running"]:
            console.print(_format_line(document))
            time.sleep(_WATCH_INTERVAL)
            document, lines = _read_status(journal, state)
        console.write_result(document, lines)
    return 0


def _read_status(journal: Path | None, location: str | None) -> tuple[dict[str, Any], list[str]]:
    with open_journal(journal, location) as opened, JournalReader(opened.path) as reader:
        running, meta, summary = reader.is_running() or opened.is_leased, reader.meta(), opened.show(reader.summary())
        rate = reader.rate(_RATE_WINDOW, time.time())
        _, requests = reader.remaining()
        settings = reader.settings()
    future_rate = rate
    if not (running and rate):
        share = settings.get("quota_share", 1.0)
        future_rate = expected_rate(settings.get("rate"), settings.get("quota"), share, meta.get("region", ""))
    reason = "" if running else meta.get("reason", "")
    document = summary_to_dict(summary, reason=reason) | {
        "running": running,
        "rate": round(rate, 2),
        "requests_left": requests,
        "seconds_left": round(requests / future_rate, 1),
    }
    lines = format_summary(summary, reason=reason)
    if running:
        lines.append(f"  rate       {rate:.1f} requests/s in the last {_RATE_WINDOW:g} s")
    if requests:
        seconds_left = format_duration(requests / future_rate)
        left = f"{seconds_left} {'left' if running else 'needed'} at {future_rate:.1f} requests/s"
        lines.append(f"  left       at least {requests:,} requests, {left}")
    return document, lines if running else lines + format_next_commands(summary)


def _format_line(document: dict[str, Any]) -> str:
    things = document["things"]
    finished = things["total"] - things["pending"]
    parts = [f"{finished:,}/{things['total']:,} things", f"{things['failed']:,} failed"]
    parts.append(f"{document['rate']:.1f} requests/s")
    parts.append(f"{format_duration(document['seconds_left'])} left")
    return ", ".join(parts)
