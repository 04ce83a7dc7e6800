"""Rule: `asyncgg where`: its options, the look-up in a snapshot or in a sweep made for it, how the answer is told."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncgg.cli.commands.inventory import READ_OPTIONS
from asyncgg.cli.console import Console
from asyncgg.cli.options import CONFIG, CONNECTION, OUTPUT, extract_settings, with_options
from asyncgg.errors import UsageError
from asyncgg.settings import load_settings

if TYPE_CHECKING:
    from asyncgg.inventory import ScanResult, Snapshot
    from asyncgg.settings import Settings

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """
\b
Examples:
  asyncgg where sensor-17 --inventory fleet.db
  asyncgg where sensor-17 sensor-18
  asyncgg where --things old.txt --inventory fleet.db --json

\b
AWS has no look-up from a thing to its cores. With --inventory the answer comes from a snapshot and costs
nothing; without it the whole Region is swept first. Exit code 3: some thing is on no core.
"""


@with_options(CONNECTION, READ_OPTIONS, OUTPUT, (CONFIG,))
def command(
    thing: Annotated[
        list[str] | None, typer.Argument(metavar="THING", help="names of things", show_default=False)
    ] = None,
    *,
    things: Annotated[
        str | None,
        typer.Option(
            "--things",
            metavar="FILE",
            help="more names: one a line, or a CSV with a column thing; - for standard input",
            rich_help_panel="What",
        ),
    ] = None,
    inventory: Annotated[
        Path | None,
        typer.Option(
            "--inventory", metavar="FILE", help="look here instead of sweeping the Region", rich_help_panel="What"
        ),
    ] = None,
    **arguments: Any,
) -> int:
    """Tell which cores hold these things, and since when."""
    from asyncgg.cli.signals import raise_on_signal
    from asyncgg.engine import RunResult
    from asyncgg.inventory import Snapshot
    from asyncgg.runs import exit_code

    settings = load_settings(extract_settings(arguments), config=arguments["config"])
    console = Console(as_json=bool(arguments["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")
    names = _collect_names(thing or [], things)
    with raise_on_signal():
        if inventory is not None:
            with Snapshot(inventory) as snapshot:
                snapshot.require_finished()
                return _write_matches(console, snapshot, names, None, str(inventory))
        with tempfile.TemporaryDirectory(prefix="asyncgg-where-") as folder:
            path = Path(folder) / "fleet.db"
            scan = _scan(path, settings, console)
            if not scan.finished:
                console.print(f"the sweep is unfinished, so there is no answer: {scan.state}: {scan.reason}")
                return exit_code(RunResult(scan.state, scan.reason, scan.is_auth_error))
            with Snapshot(path) as snapshot:
                return _write_matches(console, snapshot, names, scan, None)


def _collect_names(arguments: list[str], file: str | None) -> list[str]:
    from asyncgg.manifest.name_lists import read_names
    from asyncgg.models import invalid_name_reason

    for name in arguments:
        if reason := invalid_name_reason(name):
            raise UsageError(f"{name[:200]!a} is no thing's name: it {reason}")
    names = list(dict.fromkeys([*arguments, *(read_names(file, "thing") if file else [])]))
    if not names:
        raise UsageError("no thing is named: give names, or --things FILE")
    return names


def _scan(path: Path, settings: Settings, console: Console) -> ScanResult:
    from asyncgg.cli.scan import scan_interactively
    from asyncgg.runs import quota_rate
    from asyncgg.runs.execute import connection_from_settings
    from asyncgg.transport import resolve_endpoint

    endpoint = resolve_endpoint(connection_from_settings(settings))
    rate = quota_rate(settings, endpoint.region)
    console.log_event(
        {"event": "sweep", "region": endpoint.region, "endpoint": endpoint.url, "rate": rate},
        f"no --inventory: sweeping {endpoint.region} ({endpoint.url}), which takes a request for every core at"
        f" least, {rate:g} a second at most: {60 * rate:,.0f} cores a minute",
    )
    return scan_interactively(path, settings, console, endpoint)


def _write_matches(
    console: Console, snapshot: Snapshot, names: list[str], scan: ScanResult | None, inventory: str | None
) -> int:
    from asyncgg.cli.scan import scan_to_dict
    from asyncgg.formatting import format_duration, format_timestamp

    matches = snapshot.find_things(names)
    missing = [name for name, associations in matches.items() if not associations]
    counts = snapshot.counts()
    unknown_cores = counts.denied + counts.failed
    code = 3 if missing else 0
    lines = []
    for name, associations in matches.items():
        lines += [
            f"{name}  {association.core}  since {format_timestamp(association.associated_at) or 'an unknown time'}"
            for association in associations
        ]
        if not associations:
            lines.append(f"{name}  on no core")
    age = max(0.0, time.time() - snapshot.started_at)
    notes = [f"{len(names) - len(missing):,} of {len(names):,} things found, as of {format_duration(age)} ago"]
    if unknown_cores:
        notes.append(
            f"{unknown_cores:,} cores are not known: denied or failed in the sweep; what they hold is not seen"
        )
    if snapshot.coverage_note:
        notes.append(f"{snapshot.path} holds {snapshot.coverage_note}; what others hold is not seen")
    console.print(*notes)
    document = {
        "schema": "asyncgg.where/1",
        "inventory": inventory,
        "begun": format_timestamp(snapshot.started_at),
        "ended": format_timestamp(snapshot.ended_at) or None,
        "things": {
            name: [
                {"core": association.core, "associated_at": format_timestamp(association.associated_at) or None}
                for association in associations
            ]
            for name, associations in matches.items()
        },
        "found": len(names) - len(missing),
        "missing": missing,
        "cores_unknown": unknown_cores,
        "partial": snapshot.coverage_note or None,
        "sweep": None if scan is None else scan_to_dict(scan),
        "exit": code,
    }
    console.write_result(document, lines)
    return code
