"""The `asyncgg decommission` commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from asyncgg.cli.options import (
    CONFIG,
    CONNECTION,
    DEBUG,
    GUARDS,
    JOURNAL,
    JSON,
    LIMITS,
    OUTPUT,
    PATH,
    YES,
    Argument,
    Option,
    duration_or_zero,
    make_command,
    make_group,
    without,
)

_EPILOG: Final = """
\b
Examples:
  asyncgg decommission plan --things retired.txt
  asyncgg decommission quarantine --things retired.txt --journal J
  asyncgg decommission release J
  asyncgg decommission delete J

The quarantine sets certificates INACTIVE, never REVOKED, and disassociates the things; release undoes both.
Delete cannot be undone. Devices that a guard refuses are left unchanged: exit code 3, reasons in the report.
AWS IoT is called at AWS_ENDPOINT_URL_IOT if that is set.
"""
_DAY: Final = "24h"
_RUN: Final = Argument("run", "JOURNAL", "journal of the quarantine", type=PATH)
_DEVICES: Final = (
    Option(
        "--things", "FILE", "the devices: one thing per line, or a CSV with that column; - for standard input", "Scope"
    ),
    Option("--from-run", "JOURNAL", "the things that a finished run has disassociated", "Scope", type=PATH),
    Option("--policy", "FILE", "the things of which a clean-up policy selects every association", "Scope", type=PATH),
)
_REFUSE: Final = (
    Option(
        "--connected-within",
        "DURATION",
        "refuse devices connected to AWS IoT Core within this time; 0: do not ask [default: 24h]",
        "Safety",
        callback=duration_or_zero,
    ),
    Option(
        "--allow-unknown-connectivity",
        help="allow devices of which the fleet index has no connectivity",
        panel="Safety",
    ),
    Option(
        "--allow-shared",
        "ID",
        "change this certificate although other things use it; repeatable",
        "Safety",
        multiple=True,
    ),
)
_CANARY: Final = Option(
    "--canary", "COUNT", "devices that must succeed before the others begin", "Safety", type=click.IntRange(0)
)
_MAX_PERCENT: Final = Option(
    "--max-percent",
    "PERCENT",
    "stop before the first write if this is more of the things of the account",
    "Safety",
    type=click.FloatRange(0, 100, min_open=True),
)
_IOT_QUOTA: Final = Option(
    "--iot-quota",
    "OPERATION=RATE",
    "quota of an AWS IoT operation in requests per second; repeatable [default: Service Quotas]",
    "Speed and limits",
    multiple=True,
)
_MAX_THINGS_AND_PROTECT: Final = without(GUARDS, "yes", "dry_run")
_PROTECT: Final = without(_MAX_THINGS_AND_PROTECT, "max_things")


@make_command(
    _DEVICES,
    _REFUSE,
    _MAX_PERCENT,
    _MAX_THINGS_AND_PROTECT,
    _IOT_QUOTA,
    CONNECTION,
    LIMITS,
    JOURNAL,
    Option("--outcomes", "FILE", "a row per device: .csv, .jsonl or .parquet", "Output", type=PATH),
    OUTPUT,
    CONFIG,
    name="plan",
    epilog="""
\b
Examples:
  asyncgg decommission plan --things retired.txt
  asyncgg decommission plan --things retired.txt --outcomes devices.csv
  asyncgg decommission plan --from-run RUN.journal --json

With --journal the answers are kept, for report.
""",
)
def plan(*, outcomes: Path | None, **arguments: Any) -> int:
    """Ask who would be refused, what it costs and which quota to raise; change nothing."""
    return _start(arguments, is_plan=True, outcomes=outcomes)


@make_command(
    _DEVICES,
    YES,
    _REFUSE,
    _CANARY,
    _MAX_PERCENT,
    _MAX_THINGS_AND_PROTECT,
    _IOT_QUOTA,
    CONNECTION,
    LIMITS,
    JOURNAL,
    OUTPUT,
    CONFIG,
    name="quarantine",
    epilog="""
\b
Examples:
  asyncgg decommission quarantine --things retired.txt --journal J
  asyncgg decommission quarantine --from-run RUN.journal --canary 10
  asyncgg decommission quarantine --policy old.toml --max-percent 5

Asks for the number of devices first. Release undoes it.
""",
)
def quarantine(**arguments: Any) -> int:
    """Set the certificates of the devices INACTIVE, and disassociate the devices."""
    return _start(arguments, is_plan=False)


@make_command(
    _RUN,
    YES,
    _IOT_QUOTA,
    CONNECTION,
    LIMITS,
    OUTPUT,
    name="release",
    epilog="""
\b
Examples:
  asyncgg decommission release J

A certificate that was changed by others in between is left alone: exit code 3.
""",
)
def release(run: Path, **arguments: Any) -> int:
    """Undo a quarantine: certificates get their status from before, associations are restored."""
    from asyncgg.cli.decommission import DecommissionSession

    with DecommissionSession.open(run, arguments) as (session, book):
        return session.release(book)


@make_command(
    _RUN,
    Option(
        "--min-age",
        "DURATION",
        "minimum time since the quarantine ended [default: 24h]",
        "Delete",
        callback=duration_or_zero,
        default=_DAY,
    ),
    Option("--delete-certificates", help="also detach policies and delete certificates", panel="Delete"),
    Option("--delete-shadows", help="also delete device shadows, once they are saved", panel="Delete"),
    Option("--skip-shadows", help="do not save device shadows first", panel="Delete"),
    YES,
    _REFUSE,
    _CANARY,
    _PROTECT,
    _IOT_QUOTA,
    CONNECTION,
    LIMITS,
    OUTPUT,
    name="delete",
    epilog="""
\b
Examples:
  asyncgg decommission delete J
  asyncgg decommission delete J --min-age 7d --delete-shadows
  asyncgg decommission delete J --yes --expect-account 123456789012

Everything is verified again. Asks for the number of devices and for the account; --yes requires
--expect-account. Shadows are saved in J.shadows.jsonl. This cannot be undone.
""",
)
def delete(run: Path, *, min_age: float, **arguments: Any) -> int:
    """Delete the devices of a finished quarantine."""
    from asyncgg.cli.decommission import DecommissionSession

    with DecommissionSession.open(run, arguments) as (session, book):
        return session.delete(book, min_age=min_age)


@make_command(
    _RUN,
    YES,
    _REFUSE,
    _CANARY,
    _MAX_PERCENT,
    _PROTECT,
    _IOT_QUOTA,
    CONNECTION,
    LIMITS,
    OUTPUT,
    name="resume",
    epilog="""
\b
Examples:
  asyncgg decommission resume J
  asyncgg decommission resume J --yes --iot-quota UpdateCertificate=50

Options are those of the start unless they are given again.
""",
)
def resume(run: Path, **arguments: Any) -> int:
    """Continue the stage of a journal that was stopped, with its failed devices."""
    from asyncgg.cli.decommission import DecommissionSession

    with DecommissionSession.open(run, arguments) as (session, book):
        return session.resume(book)


@make_command(
    _RUN,
    JSON,
    DEBUG,
    name="status",
    epilog="""
\b
Examples:
  asyncgg decommission status J
  asyncgg decommission status J --json
""",
)
def status(run: Path, **arguments: Any) -> int:
    """Show the counts of a journal; also while it is running."""
    from asyncgg.cli.decommission_show import show_decommission

    return show_decommission(run, None, arguments)


@make_command(
    _RUN,
    Option("--outcomes", "FILE", "a row per device and step: .csv, .jsonl or .parquet", "Output", type=PATH),
    Option("--html", "FILE", "write a self-contained HTML page", "Output", type=PATH),
    Option("--markdown", "FILE", "write a short report for a ticket", "Output", type=PATH),
    JSON,
    DEBUG,
    name="report",
    epilog="""
\b
Examples:
  asyncgg decommission report J --outcomes steps.csv --html report.html
  asyncgg decommission report J --markdown ticket.md
""",
)
def report(run: Path, *, outcomes: Path | None, html: Path | None, markdown: Path | None, **arguments: Any) -> int:
    """Write the steps of each device and pages; also while it is running."""
    from asyncgg.cli.decommission_show import show_decommission

    return show_decommission(run, outcomes, arguments, {"decommission.html": html, "decommission.md": markdown})


def _start(arguments: dict[str, Any], *, is_plan: bool, outcomes: Path | None = None) -> int:
    from asyncgg.cli.context import CommandContext
    from asyncgg.cli.decommission import DecommissionSession
    from asyncgg.cli.decommission_source import DeviceSource
    from asyncgg.decommission.options import DecommissionOptions

    source = DeviceSource.from_arguments(arguments)
    context, options = CommandContext.load(arguments), DecommissionOptions().override(arguments)
    session = DecommissionSession.create(context, options, arguments)
    return session.start(source, is_plan=is_plan, rows=outcomes)


command: Final = make_group(
    "decommission",
    plan,
    quarantine,
    release,
    delete,
    resume,
    status,
    report,
    description="Decommission devices: certificates and associations first, things later.",
    epilog=_EPILOG,
)
