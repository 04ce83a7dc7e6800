"""The `asyncgg where` command."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncgg.cli.console import Console
from asyncgg.cli.context import CommandContext
from asyncgg.cli.options import CONFIG, CONNECTION, OUTPUT, PATH, READ_LIMITS, THING_NAMES, Option, make_command
from asyncgg.errors import UsageError

if TYPE_CHECKING:
    from asyncgg.inventory import ScanResult, Snapshot

_EPILOG = """
\b
Examples:
  asyncgg where sensor-17 --inventory fleet.db
  asyncgg where sensor-17 sensor-18
  asyncgg where --things old.txt --inventory fleet.db --json

AWS has no operation that maps a thing to its cores. With --inventory the answer comes from a snapshot and
costs no requests; without it, asyncgg scans the whole Region first. Exit code 3: some things are on no core.
"""
EXIT_NOT_FOUND = 3
"""Some things were not found."""


@make_command(
    THING_NAMES,
    Option("--inventory", "SNAPSHOT", "use this snapshot instead of scanning the Region", "Scope", type=PATH),
    CONNECTION,
    READ_LIMITS,
    OUTPUT,
    CONFIG,
    epilog=_EPILOG,
)
def command(thing: tuple[str, ...], *, things: str | None, inventory: Path | None, **arguments: Any) -> int:
    """Show which cores hold the given things, and since when."""
    from asyncgg.cli.signals import raise_on_signal
    from asyncgg.inventory import Snapshot
    from asyncgg.runs import exit_code

    context = CommandContext.load(arguments)
    console = context.console
    names = collect_names(thing, things, console)
    with raise_on_signal():
        if inventory is not None:
            with Snapshot(inventory) as snapshot:
                snapshot.require_finished()
                return _write_matches(console, snapshot, names, None, str(inventory))
        with tempfile.TemporaryDirectory(prefix="asyncgg-where-") as folder:
            path = Path(folder) / "fleet.db"
            scan = _scan(path, context)
            if not scan.finished:
                console.print(f"no result: the scan did not complete ({scan.state}: {scan.reason})")
                return exit_code(scan)
            with Snapshot(path) as snapshot:
                return _write_matches(console, snapshot, names, scan, None)


def collect_names(arguments: tuple[str, ...], file: str | None, console: Console) -> list[str]:
    """The names of the things given as arguments and in a list. Raises `UsageError`, `ManifestError`."""
    from asyncgg.manifest.name_lists import NameList, read_names
    from asyncgg.models import invalid_name_reason

    for name in arguments:
        if reason := invalid_name_reason(name):
            raise UsageError(f"invalid thing name {name[:200]!a}: {reason}")
    listed = read_names(file, "thing") if file else NameList()
    if count := len(listed.headers):
        event = {"event": "headers-left-out", "count": count}
        console.log_event(event, f"{file}: left out {count:,} repeated column name{'s' * (count > 1)}")
    names = list(dict.fromkeys([*arguments, *listed]))
    if not names:
        raise UsageError("no things given: give names, or --things FILE")
    return names


def _scan(path: Path, context: CommandContext) -> ScanResult:
    from asyncgg.cli.scan import scan_interactively
    from asyncgg.runs import quota_rate

    endpoint = context.resolve_endpoint()
    rate = quota_rate(context.settings, endpoint.region)
    context.console.log_event(
        {"event": "scan-started", "region": endpoint.region, "endpoint": endpoint.url, "rate": rate},
        f"no --inventory: scanning {endpoint.region} ({endpoint.url}) with at least one request per core,"
        f" {'from' if context.settings.explore else 'at most'} {rate:g} requests/s: {60 * rate:,.0f} cores/min",
    )
    return scan_interactively(path, context, endpoint)


def _write_matches(
    console: Console, snapshot: Snapshot, names: list[str], scan: ScanResult | None, inventory: str | None
) -> int:
    from asyncgg.cli.scan import scan_to_dict
    from asyncgg.formatting import format_count, format_duration, format_timestamp

    places = {
        name: [
            {"core": association.core, "associated_at": format_timestamp(association.associated_at) or None}
            for association in associations
        ]
        for name, associations in snapshot.find_things(names).items()
    }
    found, lines = describe_places(places, if_missing="on no core")
    counts = snapshot.counts()
    unknown_cores = counts.denied + counts.failed
    code = EXIT_NOT_FOUND if found["missing"] else 0
    age = max(0.0, time.time() - snapshot.started_at)
    notes = [f"{found['found']:,} of {format_count(len(names), 'thing')} found; snapshot is {format_duration(age)} old"]
    if unknown_cores:
        notes.append(f"{format_count(unknown_cores, 'core')} could not be listed; things on them are not found")
    if snapshot.coverage_note:
        notes.append(f"{snapshot.path} holds {snapshot.coverage_note}; things on other cores are not found")
    console.print(*notes)
    document = {
        "schema": "asyncgg.where/1",
        "inventory": inventory,
        "started_at": format_timestamp(snapshot.started_at),
        "ended_at": format_timestamp(snapshot.ended_at) or None,
        **found,
        "cores_unknown": unknown_cores,
        "partial": snapshot.coverage_note or None,
        "scan": None if scan is None else scan_to_dict(scan),
        "exit": code,
    }
    console.write_result(document, lines)
    return code


def describe_places(
    places: Mapping[str, Sequence[Mapping[str, str | None]]], *, if_missing: str
) -> tuple[dict[str, Any], list[str]]:
    """The members of a JSON object about the places of things, and a line for each.

    `if_missing`: the text for a thing without a place. The last member of a place is the time since when
    the thing is there.
    """
    missing = [thing for thing, found in places.items() if not found]
    lines = []
    for thing, found in places.items():
        for place in found:
            *columns, since = place.values()
            lines.append(
                "  ".join([thing, *(column or "-" for column in columns), f"since {since or 'an unknown time'}"])
            )
        lines += [f"{thing}  {if_missing}"] * (not found)
    return {"things": places, "found": len(places) - len(missing), "missing": missing}, lines
