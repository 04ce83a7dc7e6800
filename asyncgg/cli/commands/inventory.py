"""The `asyncgg inventory` command."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from asyncgg.cli.context import CommandContext
from asyncgg.cli.options import (
    CONFIG,
    CONNECTION,
    PATH,
    READ_LIMITS,
    RUN_OUTPUT,
    Option,
    duration,
    make_command,
    repeated_command,
)

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
        "the snapshot, or an export: .csv, .jsonl (also .gz), .parquet [default: fleet.db]",
        "Output",
        type=PATH,
        default="fleet.db",
    ),
    Option("--replace", help="replace a complete snapshot or an export when the new one is complete", panel="Output"),
    Option(
        "--max-age",
        "DURATION",
        "do not resume a scan older than this [default: 24h]",
        "Scope",
        callback=duration,
        default="24h",
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
    RUN_OUTPUT,
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
    from asyncgg.cli.scan import format_scan, scan_interactively, scan_to_dict
    from asyncgg.cli.signals import raise_on_signal
    from asyncgg.formatting import CommandLine, format_timestamp
    from asyncgg.inventory import Snapshot
    from asyncgg.inventory.export import export
    from asyncgg.inventory.files import promote, working_snapshot
    from asyncgg.inventory.scope import empty_group_warning
    from asyncgg.runs import exit_code
    from asyncgg.tables import table_format
    from asyncgg.transport import CoreFilter

    context = CommandContext.load(arguments)
    is_export = table_format(out) is not None
    with raise_on_signal(), working_snapshot(out, replace=replace, is_export=is_export, max_age=max_age) as path:
        endpoint = context.resolve_endpoint()
        resumed = path.exists()
        filters = CoreFilter(thing_group or "", status or "", runtime or "")
        scan = scan_interactively(path, context, endpoint, filters=filters, max_age=max_age)
        with Snapshot(path) as snapshot:
            origin, started_at, ended_at = snapshot.origin, snapshot.started_at, snapshot.ended_at
            if scan.finished and is_export:
                export(snapshot, out)  # the snapshot stays until the export is complete, so that this can be resumed
        if scan.finished:
            promote(path, out, is_export=is_export)
    warning = empty_group_warning(filters, scan.counts.cores) if scan.finished else ""
    kept_snapshot = path if not scan.finished else None if is_export else out
    lines = [*format_scan(scan), f"  {'export' if is_export else 'snapshot':<10} {kept_snapshot or out}"]
    if warning:
        lines.append(f"warning: {warning}")
    if not scan.finished:
        lines += ["next, to resume the scan:", CommandLine(f"  {repeated_command()}")]
    elif not is_export:
        option = f"--inventory {shlex.quote(str(out))}"
        lines += ["next:", CommandLine(f"  asyncgg where THING {option}")]
        lines.append(CommandLine(f"  asyncgg plan --things FILE {option}"))
    document = {
        "schema": "asyncgg.inventory/1",
        "out": str(out),
        "snapshot": str(kept_snapshot) if kept_snapshot else None,
        "account": origin.account,
        "region": origin.region,
        "endpoint": origin.endpoint,
        "filters": {"thing_group": thing_group or None, "status": status or None, "runtime": runtime or None},
        "started_at": format_timestamp(started_at),
        "ended_at": format_timestamp(ended_at) or None,
        "resumed": resumed,
        **scan_to_dict(scan),
        "warnings": [warning] if warning else [],
        "exit": exit_code(scan),
    }
    context.console.write_result(document, lines, always_print=True)
    return exit_code(scan)
