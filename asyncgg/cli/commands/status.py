"""The `asyncgg status` command."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.console import Console
from asyncgg.cli.options import DEBUG, JOURNAL_ARGUMENT, JSON, Option, make_command
from asyncgg.cli.signals import raise_on_signal
from asyncgg.formatting import format_duration
from asyncgg.journal import JournalReader
from asyncgg.report import format_summary, summary_to_dict
from asyncgg.report.summary import format_next_commands
from asyncgg.settings import build_settings

_EPILOG = """
\b
Examples:
  asyncgg status asyncgg-20260131-120000.journal
  asyncgg status asyncgg-20260131-120000.journal --watch
  asyncgg status asyncgg-20260131-120000.journal --json
"""

_RATE_WINDOW: Final = 10.0
"""Seconds over which the rate is measured."""
_WATCH_INTERVAL: Final = 2.0


@make_command(
    JOURNAL_ARGUMENT,
    Option("--watch", help="print a line every 2 s until the run has ended"),
    JSON,
    DEBUG,
    epilog=_EPILOG,
)
def command(journal: Path, *, watch: bool, **arguments: Any) -> int:
    """Show counts, rate and time left of a run; also while it is running."""
    console = Console(as_json=arguments["json"])
    with raise_on_signal():
        document, lines = _read_status(journal)
        while watch and document["running"]:
            console.print(_format_line(document))
            time.sleep(_WATCH_INTERVAL)
            document, lines = _read_status(journal)
        console.write_result(document, lines)
    return 0


def _read_status(path: Path) -> tuple[dict[str, Any], list[str]]:
    from asyncgg.runs import quota_rate  # imports aiobotocore: too slow for --help

    with JournalReader(path) as reader:
        running, meta, summary = reader.is_running(), reader.meta(), reader.summary()
        rate = reader.rate(_RATE_WINDOW, time.time())
        _, requests = reader.remaining()
        settings = build_settings(reader.settings())
    expected_rate = rate if running and rate else quota_rate(settings, meta.get("region"))
    seconds_left = requests / expected_rate if expected_rate else None
    reason = "" if running else meta.get("reason", "")
    document = summary_to_dict(summary, reason=reason) | {
        "running": running,
        "rate": round(rate, 2),
        "requests_left": requests,
        "seconds_left": None if seconds_left is None else round(seconds_left, 1),
    }
    lines = format_summary(summary, reason=reason)
    if running:
        lines.append(f"  rate       {rate:.1f} requests/s in the last {_RATE_WINDOW:g} s")
    if requests and seconds_left is not None:
        left = f"{format_duration(seconds_left)} {'left' if running else 'needed'} at {expected_rate:.1f} requests/s"
        lines.append(f"  left       at least {requests:,} requests, {left}")
    return document, lines if running else lines + format_next_commands(summary)


def _format_line(document: dict[str, Any]) -> str:
    things, seconds_left = document["things"], document["seconds_left"]
    finished = things["total"] - things["pending"]
    parts = [f"{finished:,}/{things['total']:,} things", f"{things['failed']:,} failed"]
    parts.append(f"{document['rate']:.1f} requests/s")
    return ", ".join(parts if seconds_left is None else [*parts, f"{format_duration(seconds_left)} left"])
