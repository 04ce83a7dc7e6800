"""The `asyncgg decommission` command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asyncgg.cli import options
from asyncgg.cli.context import CommandContext

_EPILOG = """
\b
Examples:
  asyncgg decommission plan --things retired.txt
  asyncgg decommission quarantine --things retired.txt --journal J
  asyncgg decommission release J
  asyncgg decommission delete J --min-age 7d
  asyncgg decommission status J --json
  asyncgg decommission report J --outcomes steps.csv

The quarantine sets certificates INACTIVE, never REVOKED, and disassociates the things; release undoes both.
Delete cannot be undone. Devices that a guard refuses are left unchanged: exit code 3, reasons in the report.
AWS IoT is called at AWS_ENDPOINT_URL_IOT if that is set.
"""
_STAGES = ("plan", "quarantine", "release", "delete", "resume", "status", "report")
_WITHOUT_JOURNAL = ("plan", "quarantine")
_DAY = "24h"


@options.make_command(
    options.Argument("action", "ACTION", ", ".join(_STAGES), type=click.Choice(_STAGES)),
    options.Argument(
        "run", "JOURNAL", "journal of the quarantine; not for plan and quarantine", type=options.PATH, required=False
    ),
    options.Option(
        "--things", "FILE", "the devices: one thing per line, or a CSV with that column; - for standard input", "Scope"
    ),
    options.YES,
    options.Option(
        "--connected-within",
        "DURATION",
        "refuse devices connected to AWS IoT Core within this time; 0: do not ask [default: 24h]",
        "Safety",
        callback=options.duration_or_zero,
        default=_DAY,
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
        default=0,
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
    options.Option(
        "--iot-quota",
        "OPERATION=RATE",
        "quota of an AWS IoT operation in requests per second; repeatable",
        "Speed and limits",
        multiple=True,
    ),
    options.without(options.GUARDS, "yes", "dry_run"),
    options.CONNECTION,
    options.LIMITS,
    options.JOURNAL,
    options.Option(
        "--outcomes", "FILE", "report: write a CSV with a row per device and step", "Output", type=options.PATH
    ),
    options.OUTPUT,
    options.CONFIG,
    epilog=_EPILOG,
)
def command(action: str, run: Path | None, *, things: str | None, outcomes: Path | None, **arguments: Any) -> int:
    """Decommission devices: certificates and associations first, things later.

    plan asks and shows who would be refused. quarantine is reversible by release. delete takes a finished
    quarantine. resume continues whatever was stopped. status and report read the journal.
    """
    from asyncgg.errors import UsageError

    if action in _WITHOUT_JOURNAL:
        if things is None or run is not None:
            raise UsageError(f"decommission {action} requires --things FILE, and --journal for the new journal")
    elif run is None or things is not None or arguments["journal"]:
        raise UsageError(f"decommission {action} requires the JOURNAL of a quarantine, and no other list or journal")
    if action in ("status", "report"):
        assert run is not None
        return _show(run, outcomes, arguments)
    from asyncgg.cli.decommission import DecommissionSession
    from asyncgg.decommission.quotas import parse_quotas

    parse_quotas(arguments["iot_quota"])  # report a wrong one before a journal exists
    session = DecommissionSession(CommandContext.load(arguments), dict(arguments), arguments)
    if run is None:
        assert things is not None
        return session.start(things, session.context.settings.journal, dry_run=action == "plan")
    if action == "delete":
        return session.delete(run, min_age=arguments["min_age"])
    return session.release(run) if action == "release" else session.resume(run)


def _show(path: Path, outcomes: Path | None, arguments: dict[str, Any]) -> int:
    import csv

    from asyncgg.cli.console import Console
    from asyncgg.decommission.journal import DecommissionJournal
    from asyncgg.decommission.model import Stage
    from asyncgg.decommission.report import OUTCOME_COLUMNS, format_summary_lines, outcome_rows, summarize
    from asyncgg.files import atomic_write_text

    with DecommissionJournal(path, read_only=True) as book:
        summary = summarize(book, Stage(book.meta()["stage"]))
        if outcomes is not None:
            with atomic_write_text(outcomes, path) as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(OUTCOME_COLUMNS)
                writer.writerows(outcome_rows(book))
        Console(as_json=arguments["json"]).write_result(summary, format_summary_lines(summary))
    return 0
