"""Rule: `asyncgg status`: how a journal stands, read beside whoever runs it; exit code 0 whenever it can be read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from asyncgg.cli.console import Console
from asyncgg.cli.options import JournalPath, Opt, with_options
from asyncgg.cli.signals import raise_on_signal
from asyncgg.formatting import format_duration
from asyncgg.journal import JournalReader
from asyncgg.report import format_summary, summary_to_dict
from asyncgg.report.summary import next_commands
from asyncgg.settings import build_settings

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """
\b
Examples:
  asyncgg status asyncgg-20260131-120000.journal
  asyncgg status asyncgg-20260131-120000.journal --watch
  asyncgg status asyncgg-20260131-120000.journal --json
"""

_RATE_WINDOW: Final = 10.0
"""Seconds over which the rate is taken."""
_WATCH_INTERVAL: Final = 2.0

_OPTIONS = (
    Opt("json", help="standard output is one JSON object: the summary, and how it goes", panel="Output"),
    Opt("debug", help="show a traceback with an error", panel="Output"),
)


@with_options(_OPTIONS)
def command(
    journal: JournalPath,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="a line every 2 s until the run is over", show_default=False)
    ] = False,
    **arguments: Any,
) -> int:
    """Counts, rate and time left of a run; works while it is going."""
    console = Console(as_json=bool(arguments["json"]))
    with raise_on_signal():
        document, lines = _read_status(journal)
        while watch and document["running"]:
            console.print(_format_line(document))
            time.sleep(_WATCH_INTERVAL)
            document, lines = _read_status(journal)
        console.write_result(document, lines)
    return 0


def _read_status(path: Path) -> tuple[dict[str, Any], list[str]]:
    from asyncgg.runs import quota_rate  # imports all of aiobotocore, which help need not wait for

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
        label = "left" if running else "needed"
        lines.append(
            f"  left       {requests:,} requests at least, {format_duration(seconds_left)} {label} at {expected_rate:.1f} requests/s"
        )
    if not running and (commands := next_commands(summary)):
        lines += ["next:", *(f"  {command}" for command in commands)]
    return document, lines


def _format_line(document: dict[str, Any]) -> str:
    things, seconds_left = document["things"], document["seconds_left"]
    finished = things["total"] - things["pending"]
    parts = [f"{finished:,}/{things['total']:,} things", f"{things['failed']:,} failed"]
    parts.append(f"{document['rate']:.1f} requests/s")
    return ", ".join(parts if seconds_left is None else [*parts, f"{format_duration(seconds_left)} left"])
