"""Rule: `asyncgg inventory`: its options, and how its end is told; the sweep is `asyncgg.cli.sweeping`.

An export is made from a snapshot that is kept beside it until the export is there: so it is resumable too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from asyncgg.cli.options import CONFIG, CONNECTION, LIMITS, OUTPUT, given_settings, with_options
from asyncgg.cli.output import Output
from asyncgg.errors import SettingsError, UsageError
from asyncgg.settings import load_settings, parse_duration

__all__ = ["EXAMPLES", "READING", "command"]

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

_NOT_READING = {"per_core", "unknown_attempts", "abort_at", "abort_after"}
READING = [option for option in LIMITS if option.name not in _NOT_READING]
"""The limits that reading has."""

_WHAT = "What"


@with_options(CONNECTION, READING, OUTPUT, (CONFIG,))
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
            rich_help_panel=_WHAT,
            show_default=False,
        ),
    ] = "24h",
    thing_group: Annotated[
        str | None,
        typer.Option(
            "--thing-group",
            metavar="ARN",
            help="only cores that had a deployment to this thing group",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(
            "--status", metavar="STATUS", help="only cores that are HEALTHY, or UNHEALTHY", rich_help_panel=_WHAT
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            metavar="RUNTIME",
            help="only cores with it: aws_nucleus_classic or aws_nucleus_lite",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    **given: Any,
) -> int:
    """Sweep the Region: every core device and its client devices, into a snapshot or a list."""
    from asyncgg.cli.placing import put_in_place, swept_into
    from asyncgg.cli.signals import interrupting
    from asyncgg.cli.sweeping import sweep_now, swept_lines, swept_object
    from asyncgg.engine import RunResult
    from asyncgg.inventory import Snapshot
    from asyncgg.inventory.export import export, export_format
    from asyncgg.manifest.writing import format_timestamp
    from asyncgg.runs import exit_code
    from asyncgg.runs.execute import connection_from_settings
    from asyncgg.transport import CoreFilter, resolve_endpoint

    settings = load_settings(given_settings(given), config=given["config"])
    output = Output(as_json=bool(given["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")
    form = export_format(out)
    age = _age(max_age)
    if status is not None and status not in {"HEALTHY", "UNHEALTHY"}:
        raise UsageError(f"--status {status}: give HEALTHY or UNHEALTHY")
    exported = form is not None
    with interrupting(), swept_into(out, replace=replace, exported=exported, max_age=age) as path:
        target = resolve_endpoint(connection_from_settings(settings))
        filters = CoreFilter(thing_group or "", status or "", runtime or "")
        going_on = path.exists()
        swept = sweep_now(path, settings, output, target, filters=filters, max_age=age)
        with Snapshot(path) as snapshot:
            origin, begun, ended = snapshot.origin, snapshot.started_at, snapshot.ended_at
            if swept.finished and exported:
                export(snapshot, out)
        if swept.finished:
            put_in_place(path, out, exported=exported)
    code = exit_code(RunResult(swept.state, swept.reason, swept.is_auth_error))
    lines = swept_lines(swept)
    lines.append(f"  {'export' if form else 'snapshot':<10} {out if swept.finished else path}")
    if not swept.finished:
        lines.append("the same command goes on where it was")
    document = {
        "schema": "asyncgg.inventory/1",
        "out": str(out),
        "snapshot": None if form and swept.finished else str(out if swept.finished else path),
        "account": origin.account,
        "region": origin.region,
        "endpoint": origin.endpoint,
        "filters": {"thing_group": thing_group, "status": status, "runtime": runtime},
        "begun": format_timestamp(begun),
        "ended": format_timestamp(ended) or None,
        "resumed": going_on,
        **swept_object(swept),
        "exit": code,
    }
    if output.as_json and not output.quiet:
        output.say(*lines)
    output.result(document, lines)
    return code


def _age(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise SettingsError(f"--max-age: {text!r} {error}") from None
