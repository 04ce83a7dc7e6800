"""The `asyncgg inventory` command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asyncgg.cli.context import CommandContext
from asyncgg.cli.options import CONFIG, CONNECTION, OUTPUT, PATH, READ_LIMITS, Option, duration, make_command

if TYPE_CHECKING:
    from asyncgg.inventory import Origin, ScanResult
    from asyncgg.transport import CoreFilter

_EPILOG = """
\b
Examples:
  asyncgg inventory
  asyncgg inventory --out tonight.db --status UNHEALTHY
  asyncgg inventory --out fleet.csv --rate 10
  asyncgg inventory --out fleet.db --replace --json > scan.json

AWS lists client devices per core, so a scan needs one request per hundred cores and at least one per core.
An interrupted scan is resumed by the same command. An export has the columns
core,thing,associated_at,core_status,core_last_status_at and can be used as a manifest.
"""


@make_command(
    Option(
        "--out",
        "FILE",
        "the snapshot, or an export: .csv, .jsonl (also .gz), .parquet (fleet.db)",
        "Output",
        type=PATH,
        default="fleet.db",
    ),
    Option("--replace", help="replace a complete snapshot or an export when the new one is complete", panel="Output"),
    Option(
        "--max-age", "DURATION", "do not resume a scan older than this (24h)", "Scope", callback=duration, default="24h"
    ),
    Option("--thing-group", "ARN", "only cores that had a deployment to this thing group", "Scope"),
    Option(
        "--status",
        "STATUS",
        "only cores that are HEALTHY, or UNHEALTHY",
        "Scope",
        type=click.Choice(["HEALTHY", "UNHEALTHY"]),
    ),
    Option("--runtime", "RUNTIME", "only cores with aws_nucleus_classic or aws_nucleus_lite", "Scope"),
    CONNECTION,
    READ_LIMITS,
    OUTPUT,
    CONFIG,
    epilog=_EPILOG,
)
def command(
    *,
    out: Path,
    replace: bool,
    max_age: float,
    thing_group: str | None,
    status: str | None,
    runtime: str | None,
    **arguments: Any,
) -> int:
    """List every core device of the Region and its client devices into a snapshot or an export."""
    from asyncgg.engine import RunResult
    from asyncgg.runs import exit_code
    from asyncgg.transport import CoreFilter

    context = CommandContext.load(arguments)
    filters = CoreFilter(thing_group or "", status or "", runtime or "")
    inventory = _take(context, out, filters, replace=replace, max_age=max_age)
    scan = inventory.scan
    code = exit_code(RunResult(scan.state, scan.reason, scan.is_auth_error))
    context.console.write_result({**inventory.to_dict(), "exit": code}, inventory.format_lines(), always_print=True)
    return code


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inventory:
    """A scan and the file that holds its result."""

    scan: ScanResult
    filters: CoreFilter
    out: Path
    is_export: bool
    snapshot: Path | None
    """None if it was exported and removed."""
    origin: Origin
    started_at: float
    ended_at: float | None
    resumed: bool

    def format_lines(self) -> list[str]:
        """The result as lines of text."""
        from asyncgg.cli.scan import format_scan

        label = "export" if self.is_export else "snapshot"
        lines = [*format_scan(self.scan), f"  {label:<10} {self.snapshot or self.out}"]
        return lines if self.scan.finished else [*lines, "run the same command again to resume the scan"]

    def to_dict(self) -> dict[str, Any]:
        """The result as `asyncgg.inventory/1`."""
        from asyncgg.cli.scan import scan_to_dict
        from asyncgg.formatting import format_timestamp

        return {
            "schema": "asyncgg.inventory/1",
            "out": str(self.out),
            "snapshot": str(self.snapshot) if self.snapshot else None,
            "account": self.origin.account,
            "region": self.origin.region,
            "endpoint": self.origin.endpoint,
            "filters": {
                "thing_group": self.filters.thing_group_arn or None,
                "status": self.filters.status or None,
                "runtime": self.filters.runtime or None,
            },
            "started_at": format_timestamp(self.started_at),
            "ended_at": format_timestamp(self.ended_at) or None,
            "resumed": self.resumed,
            **scan_to_dict(self.scan),
        }


def _take(context: CommandContext, out: Path, filters: CoreFilter, *, replace: bool, max_age: float) -> _Inventory:
    from asyncgg.cli.scan import scan_interactively
    from asyncgg.cli.signals import raise_on_signal
    from asyncgg.cli.snapshot_files import promote, working_snapshot
    from asyncgg.inventory import Snapshot
    from asyncgg.inventory.export import export, export_format

    is_export = export_format(out) is not None
    with raise_on_signal(), working_snapshot(out, replace=replace, is_export=is_export, max_age=max_age) as path:
        endpoint = context.resolve_endpoint()
        resumed = path.exists()
        scan = scan_interactively(path, context, endpoint, filters=filters, max_age=max_age)
        with Snapshot(path) as snapshot:
            origin, started_at, ended_at = snapshot.origin, snapshot.started_at, snapshot.ended_at
            if scan.finished and is_export:
                export(snapshot, out)  # the snapshot stays until the export is complete, so that this can be resumed
        if scan.finished:
            promote(path, out, is_export=is_export)
    return _Inventory(
        scan=scan,
        filters=filters,
        out=out,
        is_export=is_export,
        snapshot=path if not scan.finished else None if is_export else out,
        origin=origin,
        started_at=started_at,
        ended_at=ended_at,
        resumed=resumed,
    )
