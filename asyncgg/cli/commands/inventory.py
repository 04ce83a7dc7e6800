"""Rule: `asyncgg inventory`: its options, and how its end is told; the sweep is `asyncgg.cli.scan`.

An export is made from a snapshot that is kept beside it until the export is there: so it is resumable too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from asyncgg.cli.console import Console
from asyncgg.cli.options import CONFIG, CONNECTION, LIMITS, OUTPUT, extract_settings, with_options
from asyncgg.errors import SettingsError, UsageError
from asyncgg.settings import load_settings, parse_duration

__all__ = ["EXAMPLES", "READ_OPTIONS", "command"]

EXAMPLES = """
\b
Examples:
  asyncgg inventory
  asyncgg inventory --out tonight.db --status UNHEALTHY
  asyncgg inventory --out fleet.csv --rate 10
  asyncgg inventory --out fleet.db --replace --json > sweep.json

\b
AWS lists client devices core by core, so a sweep takes a request for every hundred cores and at least one
for every core. Stopped or killed, the same command goes on with it. An export has the columns
core,thing,associated_at,core_status,core_last_status_at: it is a manifest.
"""

_WRITE_ONLY_LIMITS = {"per_core", "max_attempts_unknown", "abort_at", "abort_after"}
READ_OPTIONS = [option for option in LIMITS if option.name not in _WRITE_ONLY_LIMITS]
"""The limits that reading has."""

_SCOPE_PANEL = "What"


@with_options(CONNECTION, READ_OPTIONS, OUTPUT, (CONFIG,))
def command(
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE",
            help="the snapshot, or an export: .csv, .jsonl (also .gz), .parquet (fleet.db)",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = Path("fleet.db"),
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="replace a finished snapshot or an export once the new one is there",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = False,
    max_age: Annotated[
        str,
        typer.Option(
            "--max-age",
            metavar="DURATION",
            help="refuse to go on with a sweep begun longer ago (24h)",
            rich_help_panel=_SCOPE_PANEL,
            show_default=False,
        ),
    ] = "24h",
    thing_group: Annotated[
        str | None,
        typer.Option(
            "--thing-group",
            metavar="ARN",
            help="only cores that had a deployment to this thing group",
            rich_help_panel=_SCOPE_PANEL,
        ),
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(
            "--status", metavar="STATUS", help="only cores that are HEALTHY, or UNHEALTHY", rich_help_panel=_SCOPE_PANEL
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            metavar="RUNTIME",
            help="only cores with it: aws_nucleus_classic or aws_nucleus_lite",
            rich_help_panel=_SCOPE_PANEL,
        ),
    ] = None,
    **arguments: Any,
) -> int:
    """Sweep the Region: every core device and its client devices, into a snapshot or a list."""
    from asyncgg.cli.scan import format_scan, scan_interactively, scan_to_dict
    from asyncgg.cli.signals import raise_on_signal
    from asyncgg.cli.snapshot_files import promote, working_snapshot
    from asyncgg.engine import RunResult
    from asyncgg.formatting import format_timestamp
    from asyncgg.inventory import Snapshot
    from asyncgg.inventory.export import export, export_format
    from asyncgg.runs import exit_code
    from asyncgg.runs.execute import connection_from_settings
    from asyncgg.transport import CoreFilter, resolve_endpoint

    settings = load_settings(extract_settings(arguments), config=arguments["config"])
    console = Console(as_json=bool(arguments["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")
    file_format = export_format(out)
    age = _parse_max_age(max_age)
    if status is not None and status not in {"HEALTHY", "UNHEALTHY"}:
        raise UsageError(f"--status {status}: give HEALTHY or UNHEALTHY")
    is_export = file_format is not None
    with raise_on_signal(), working_snapshot(out, replace=replace, is_export=is_export, max_age=age) as path:
        endpoint = resolve_endpoint(connection_from_settings(settings))
        filters = CoreFilter(thing_group or "", status or "", runtime or "")
        resumed = path.exists()
        scan = scan_interactively(path, settings, console, endpoint, filters=filters, max_age=age)
        with Snapshot(path) as snapshot:
            origin, started_at, ended_at = snapshot.origin, snapshot.started_at, snapshot.ended_at
            if scan.finished and is_export:
                export(snapshot, out)
        if scan.finished:
            promote(path, out, is_export=is_export)
    code = exit_code(RunResult(scan.state, scan.reason, scan.is_auth_error))
    lines = format_scan(scan)
    lines.append(f"  {'export' if file_format else 'snapshot':<10} {out if scan.finished else path}")
    if not scan.finished:
        lines.append("the same command goes on where it was")
    document = {
        "schema": "asyncgg.inventory/1",
        "out": str(out),
        "snapshot": None if file_format and scan.finished else str(out if scan.finished else path),
        "account": origin.account,
        "region": origin.region,
        "endpoint": origin.endpoint,
        "filters": {"thing_group": thing_group, "status": status, "runtime": runtime},
        "begun": format_timestamp(started_at),
        "ended": format_timestamp(ended_at) or None,
        "resumed": resumed,
        **scan_to_dict(scan),
        "exit": code,
    }
    if console.as_json and not console.quiet:
        console.print(*lines)
    console.write_result(document, lines)
    return code


def _parse_max_age(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise SettingsError(f"--max-age: {text!r} {error}") from None
