"""The `asyncgg decommission` command."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from asyncgg.cli import options
from asyncgg.cli.context import CommandContext
from asyncgg.formatting import format_count

_EPILOG = """
\b
Examples:
  asyncgg decommission plan --things retired.txt --outcomes devices.csv
  asyncgg decommission plan --from-run RUN.journal
  asyncgg decommission quarantine --things retired.txt --journal J
  asyncgg decommission release J
  asyncgg decommission delete J --min-age 7d --delete-shadows
  asyncgg decommission status J --json
  asyncgg decommission report J --outcomes steps.csv --html report.html

The quarantine sets certificates INACTIVE, never REVOKED, and disassociates the things; release undoes both.
Delete cannot be undone. Devices that a guard refuses are left unchanged: exit code 3, reasons in the report.
AWS IoT is called at AWS_ENDPOINT_URL_IOT if that is set.
"""
_STAGES = ("plan", "quarantine", "release", "delete", "resume", "status", "report")
_WITHOUT_JOURNAL = ("plan", "quarantine")
_WITH_OUTCOMES = ("plan", "report")
_DAY = "24h"


@options.make_command(
    options.Argument("action", "ACTION", ", ".join(_STAGES), type=click.Choice(_STAGES)),
    options.Argument(
        "run", "JOURNAL", "journal of the quarantine; not for plan and quarantine", type=options.PATH, required=False
    ),
    options.Option(
        "--things", "FILE", "the devices: one thing per line, or a CSV with that column; - for standard input", "Scope"
    ),
    options.Option(
        "--from-run",
        "JOURNAL",
        "the things that a finished run of disassociate has disassociated",
        "Scope",
        type=options.PATH,
    ),
    options.Option(
        "--policy",
        "FILE",
        "the things of which this clean-up policy selects every association",
        "Scope",
        type=options.PATH,
    ),
    options.YES,
    options.Option(
        "--connected-within",
        "DURATION",
        "refuse devices connected to AWS IoT Core within this time; 0: do not ask [default: 24h]",
        "Safety",
        callback=options.duration_or_zero,
    ),
    options.Option(
        "--allow-unknown-connectivity",
        help="allow devices of which the fleet index has no connectivity",
        panel="Safety",
    ),
    options.Option(
        "--allow-shared",
        "ID",
        "change this certificate although other things use it; repeatable",
        "Safety",
        multiple=True,
    ),
    options.Option(
        "--canary",
        "COUNT",
        "devices that must succeed before the others begin",
        "Safety",
        type=click.IntRange(0),
    ),
    options.Option(
        "--max-percent",
        "PERCENT",
        "stop before the first write if this is more of the things of the account",
        "Safety",
        type=click.FloatRange(0, 100, min_open=True),
    ),
    options.Option(
        "--min-age",
        "DURATION",
        "delete: minimum time since the quarantine ended [default: 24h]",
        "Delete",
        callback=options.duration_or_zero,
        default=_DAY,
    ),
    options.Option(
        "--delete-certificates", help="delete: also detach policies and delete certificates", panel="Delete"
    ),
    options.Option("--delete-shadows", help="delete: also delete device shadows, once they are saved", panel="Delete"),
    options.Option("--skip-shadows", help="delete: do not save device shadows first", panel="Delete"),
    options.Option(
        "--iot-quota",
        "OPERATION=RATE",
        "quota of an AWS IoT operation in requests per second; repeatable [default: Service Quotas]",
        "Speed and limits",
        multiple=True,
    ),
    options.without(options.GUARDS, "yes", "dry_run"),
    options.CONNECTION,
    options.LIMITS,
    options.JOURNAL,
    options.Option(
        "--outcomes",
        "FILE",
        "plan: write a CSV with a row per device; report: with a row per device and step, .csv, .jsonl or .parquet",
        "Output",
        type=options.PATH,
    ),
    options.Option("--html", "FILE", "report: write a self-contained HTML page", "Output", type=options.PATH),
    options.Option("--markdown", "FILE", "report: write a short report for a ticket", "Output", type=options.PATH),
    options.OUTPUT,
    options.CONFIG,
    epilog=_EPILOG,
)
def command(
    action: str,
    run: Path | None,
    *,
    outcomes: Path | None,
    html: Path | None,
    markdown: Path | None,
    **arguments: Any,
) -> int:
    """Decommission devices: certificates and associations first, things later.

    plan asks and shows who would be refused. quarantine is reversible by release. delete takes a finished
    quarantine. resume continues whatever was stopped. status and report read the journal.
    """
    from asyncgg.errors import UsageError

    if outcomes is not None and action not in _WITH_OUTCOMES:
        raise UsageError(f"--outcomes is an option of {' and '.join(_WITH_OUTCOMES)}, not of {action}")
    if (html or markdown) and action != "report":
        raise UsageError("--html and --markdown are options of decommission report")
    lists = [name for name in ("things", "from_run", "policy") if arguments[name] is not None]
    if action in _WITHOUT_JOURNAL:
        if run is not None:
            raise UsageError(f"decommission {action} takes no JOURNAL; --journal names the new one")
    elif run is None or lists or arguments["journal"]:
        raise UsageError(f"decommission {action} requires the JOURNAL of a quarantine, and no other list or journal")
    if action in ("status", "report"):
        assert run is not None
        return show_decommission(run, outcomes, arguments, {"decommission.html": html, "decommission.md": markdown})
    from asyncgg.cli.decommission import DecommissionSession

    if run is None:
        from asyncgg.cli.decommission_source import DeviceSource
        from asyncgg.decommission.options import DecommissionOptions

        source = DeviceSource.from_arguments(arguments)
        session = DecommissionSession.create(
            CommandContext.load(arguments), DecommissionOptions().override(arguments), arguments
        )
        return session.start(source, is_plan=action == "plan", rows=outcomes)
    with DecommissionSession.open(run, arguments) as (session, book):
        if action == "delete":
            return session.delete(book, min_age=arguments["min_age"])
        return session.release(book) if action == "release" else session.resume(book)


def show_decommission(
    path: Path, outcomes: Path | None, arguments: Mapping[str, Any], pages: Mapping[str, Path | None] | None = None
) -> int:
    """Write the result of a journal, its steps to `outcomes`, and a page for each template with a path."""
    from asyncgg.cli.console import Console
    from asyncgg.decommission.journal import DecommissionJournal
    from asyncgg.decommission.report import OUTCOME_COLUMNS, format_summary_lines, outcome_rows, summarize_saved
    from asyncgg.files import atomic_write_text

    console = Console(as_json=arguments["json"])
    with DecommissionJournal(path, read_only=True) as book:
        summary = summarize_saved(book)
        if outcomes is not None:
            from asyncgg.report.outcomes import write_table

            count = write_table(outcomes, OUTCOME_COLUMNS, outcome_rows(book), path)
            console.print(f"{outcomes}: {format_count(count, 'row')}")
        for template, page_path in (pages or {}).items():
            if page_path is not None:
                from asyncgg.decommission.page import load_decommission_page
                from asyncgg.report.html import render

                page = load_decommission_page(book, generated_at=time.time())
                with atomic_write_text(page_path, path) as file:
                    file.write(render(template, report=page))
                console.print(f"{page_path}: written")
        console.write_result(summary, format_summary_lines(summary))
    return 0
