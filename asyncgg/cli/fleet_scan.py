"""`asyncgg fleet inventory` and `where`: the scans of many targets side by side."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.commands.where import EXIT_NOT_FOUND, describe_places
from asyncgg.cli.console import Console
from asyncgg.cli.fleet_targets import (
    TargetSettings,
    format_target,
    load_fleet,
    run_group,
    targets_to_dict,
    write_targets,
)
from asyncgg.cli.scan import scan_to_dict
from asyncgg.cli.signals import raise_on_signal
from asyncgg.fleet.folder import new_folder
from asyncgg.fleet.group import ActiveTargets, TargetResult
from asyncgg.fleet.results import first_exit_code, state_of_code
from asyncgg.fleet.scan import LISTED, FleetScanner, TargetMatches, TargetScan, find_in_snapshot, snapshot_path
from asyncgg.formatting import CommandLine, format_count, format_timestamp

INVENTORY_SCHEMA: Final = "asyncgg.campaign-inventory/1"
WHERE_SCHEMA: Final = "asyncgg.campaign-where/1"
_ABORTED: Final = "aborted by a second signal; run the same command again to resume the scans"


def scan_targets(arguments: Mapping[str, Any]) -> int:
    """Scan all targets into the folder `out`, write the result and return the exit code."""
    context, targets = load_fleet(arguments)
    folder: Path = arguments["out"]
    scanner = _scanner(folder, targets, arguments)
    with raise_on_signal(), new_folder(folder):
        results = run_group(targets, scanner.scan, context.console, abort_message=_ABORTED)
    document = targets_to_dict(INVENTORY_SCHEMA, [target for target, _ in targets.values()], results, _scan_details)
    document["folder"] = str(folder)
    return write_targets(context.console, document, _format_scans(folder, results))


def _scanner(folder: Path, targets: TargetSettings, arguments: Mapping[str, Any]) -> FleetScanner:
    settings = {name: settings for name, (_, settings) in targets.items()}
    return FleetScanner(folder, settings, arguments.get("replace", False), arguments["max_age"])


def _scan_details(result: TargetResult[TargetScan]) -> dict[str, Any]:
    found = result.value
    if found is None:
        return {"snapshot": None}
    details = {} if found.scan is None else scan_to_dict(found.scan)
    counts = {"cores": {"total": found.counts.cores}, "associations": found.counts.associations}
    return {"snapshot": str(found.path), "kept": found.scan is None, **counts, **details, "reason": result.reason}


def _format_scans(folder: Path, results: Sequence[TargetResult[TargetScan]]) -> list[str]:
    state = state_of_code(first_exit_code(result.exit for result in results))
    done = sum(result.exit == 0 for result in results)
    lines = [f"{state}: {done:,} of {format_count(len(results), 'target')} listed completely, in {folder}"]
    for result in results:
        text = format_target(result)
        if result.value is not None:
            counts, scan = result.value.counts, result.value.scan
            requests = "kept" if scan is None else format_count(scan.sent, "request")
            text += f"; {format_count(counts.cores, 'core')}, {format_count(counts.associations, 'association')}"
            text += f", {requests}"
        lines.append(f"  {text}")
    if any(result.exit not in LISTED for result in results):
        lines.append("run the same command again to complete the other targets")
    else:
        lines += ["next:", CommandLine(f"  asyncgg fleet where THING --targets FILE --inventory {folder}")]
    return lines


def find_things(names: Sequence[str], arguments: Mapping[str, Any]) -> int:
    """Find the things in the snapshots of a folder, else in scans; write them and return the exit code."""
    context, targets = load_fleet(arguments)
    inventory: Path | None = arguments["inventory"]
    with ExitStack() as stack:
        stack.enter_context(raise_on_signal())
        folder = inventory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="asyncgg-where-")))
        scanner = _scanner(folder, targets, arguments)

        async def find(active: ActiveTargets, name: str) -> TargetResult[TargetMatches]:
            path = snapshot_path(folder, name)
            if inventory is None:
                scan = await scanner.scan(active, name)
                if scan.exit not in LISTED:
                    return TargetResult(name, scan.state, scan.exit, scan.reason)
            matches = await asyncio.to_thread(find_in_snapshot, path, names)
            return TargetResult(name, "complete", 0, "", matches)

        if inventory is None:
            text = f"no --inventory: scanning {format_count(len(targets), 'target')}, each at its own quota"
            context.console.log_event({"event": "scan-started", "targets": len(targets)}, text)
        results = run_group(targets, find, context.console, abort_message=_ABORTED, quiet=True)
    return _write_matches(context.console, names, targets, results)


def _write_matches(
    console: Console, names: Sequence[str], targets: TargetSettings, results: Sequence[TargetResult[TargetMatches]]
) -> int:
    places: dict[str, list[dict[str, str | None]]] = {name: [] for name in names}
    for result in results:
        target = targets[result.name][0]
        for record in result.value.records if result.value else ():
            place = {"target": target.name, "account": target.account or None, "region": target.region}
            since = format_timestamp(record.associated_at) or None
            places[record.thing].append({**place, "core": record.core, "associated_at": since})
    found, lines = describe_places(places, if_missing="in no target")
    unlisted = sum(result.value.unlisted_cores for result in results if result.value)
    broken = [result for result in results if result.exit]
    console.print(f"{found['found']:,} of {len(names):,} things found")
    console.print(*(f"not searched: {format_target(result)}" for result in broken))
    if unlisted:
        console.print(f"{format_count(unlisted, 'core')} could not be listed; things there are not found")
    code = first_exit_code([*(result.exit for result in results), EXIT_NOT_FOUND if found["missing"] else 0])
    document = targets_to_dict(WHERE_SCHEMA, [target for target, _ in targets.values()], results, _match_details)
    document |= {"state": state_of_code(code).value, "exit": code, **found, "cores_unknown": unlisted}
    console.write_result(document, lines)
    return code


def _match_details(result: TargetResult[TargetMatches]) -> dict[str, Any]:
    return {"started_at": format_timestamp(result.value.started_at) if result.value else None}
