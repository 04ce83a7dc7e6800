"""The `asyncgg fleet` commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from asyncgg.cli.commands.cleanup import SET_BY_POLICY
from asyncgg.cli.options import (
    CONFIG,
    GUARDS,
    LANES,
    LIMITS,
    NOTIFY,
    OUTPUT,
    PATH,
    READ_LIMITS,
    STATE,
    TELEMETRY,
    THING_NAMES,
    UNDO,
    VERIFY,
    YES,
    Argument,
    Option,
    duration,
    make_command,
    make_group,
    without,
)

_EPILOG: Final = """
\b
Examples:
  asyncgg fleet plan fleet.csv --targets targets.toml
  asyncgg fleet disassociate fleet.csv --targets targets.toml
  asyncgg fleet lanes --targets targets.toml --json

A campaign is a folder with one journal for each target. resume, retry, status, watch, report, verify and undo take
the folder.
"""
_TARGETS: Final = (
    Option(
        "--targets",
        "FILE",
        "the targets: TOML, or accounts.yml of c7n-org; also s3://bucket/key",
        "Campaign",
        required=True,
    ),
    Option("-t, --tag", "TAG", "only targets with this tag; repeatable", "Campaign", multiple=True),
)
_WAVES: Final = (
    Option("--waves", "SIZES", "targets per wave, such as 1,5,25%; a failed wave is the last one", "Campaign"),
    Option("--canary", "TARGET", "run this target first, alone", "Campaign"),
)
_MAX_THINGS: Final = Option(
    "--max-things", "COUNT", "stop before the first request if all targets have more things", "Safety", type=int
)
_MAX_AGE: Final = Option(
    "--max-age",
    "DURATION",
    "do not use or resume a scan older than this [default: 24h]",
    "Scope",
    callback=duration,
    default="24h",
)
_RUN: Final = (
    Argument("manifest", "MANIFEST", "associations: .csv, .jsonl (also .gz), .parquet, s3:// or -", required=False),
    *_TARGETS,
    Option("--campaign", "FOLDER", "folder of the campaign; the default name contains the time", "Campaign", type=PATH),
    LANES,
    STATE,
    *_WAVES,
    YES,
    _MAX_THINGS,
    Option("--protect", "FILE", "names or globs of things and cores that must not be changed", "Safety"),
    LIMITS,
    Option(
        "--things",
        "FILE",
        "every association of these things, in all targets: one per line, or a CSV with that column",
        "Scope",
    ),
    Option("--inventory", "FOLDER", "use these snapshots; created or completed first if necessary", "Scope", type=PATH),
    _MAX_AGE,
    Option("--allow-incomplete", help="continue even if some cores could not be listed", panel="Scope"),
    Option("--format", "FORMAT", "csv, jsonl or parquet; overrides the file name", "Manifest"),
    Option("--skip-bad-rows", help="skip invalid rows, and rows that no target takes", panel="Manifest"),
    Option("--snapshot", help="list the cores of each target first, so that undo is possible", panel="Manifest"),
    Option("--rejects", "FILE", "write the bad rows to this CSV file", "Manifest", type=PATH),
    OUTPUT,
    CONFIG,
)
_MANIFEST_NOTE: Final = (
    "The manifest has the columns core,thing and, to select the target of a row, account, region or target."
    " With --things, asyncgg scans each target first."
)


@make_command(
    *_RUN,
    name="plan",
    epilog=f"""
\b
Examples:
  asyncgg fleet plan fleet.csv --targets targets.toml
  asyncgg fleet plan --things gone.txt --targets targets.toml

{_MANIFEST_NOTE}
""",
)
def plan(manifest: str | None, **arguments: Any) -> int:
    """Show things, requests and time of each target; send nothing."""
    from asyncgg.cli.fleet_run import run_fleet_action

    return run_fleet_action("plan", manifest, arguments)


@make_command(
    *_RUN,
    TELEMETRY,
    NOTIFY,
    name="disassociate",
    epilog=f"""
\b
Examples:
  asyncgg fleet disassociate fleet.csv --targets targets.toml
  asyncgg fleet disassociate fleet.csv --targets accounts.yml -t prod
  asyncgg fleet disassociate --things gone.txt --targets targets.toml

{_MANIFEST_NOTE}
""",
)
def disassociate(manifest: str | None, **arguments: Any) -> int:
    """Disassociate in many accounts and Regions, side by side, each within its quota."""
    from asyncgg.cli.fleet_run import run_fleet_action

    return run_fleet_action("disassociate", manifest, arguments)


@make_command(
    *_TARGETS,
    Option(
        "--out", "FOLDER", "folder of the snapshots (fleet-snapshots)", "Output", type=PATH, default="fleet-snapshots"
    ),
    Option("--replace", help="replace complete snapshots when the new ones are complete", panel="Output"),
    _MAX_AGE,
    READ_LIMITS,
    OUTPUT,
    CONFIG,
    name="inventory",
    epilog="""
\b
Examples:
  asyncgg fleet inventory --targets targets.toml
  asyncgg fleet inventory --targets targets.toml --out monday --json

The snapshot of a target is FOLDER/TARGET.fleet.db. The same command again completes what is missing.
""",
)
def inventory(**arguments: Any) -> int:
    """List the core devices and client devices of all targets into snapshots."""
    from asyncgg.cli.fleet_scan import scan_targets

    return scan_targets(arguments)


@make_command(
    Argument("policy", "POLICY", "policy file, TOML", type=PATH),
    *_TARGETS,
    Option(
        "--campaign",
        "FOLDER",
        "folder of the runs of each target (that of the policy, -by-target)",
        "Campaign",
        type=PATH,
    ),
    *_WAVES,
    *(option for option in LANES if option.name == "abort_targets"),
    Option("--dry-run", help="scan, decide and check the guards; disassociate and notify nothing", panel="Safety"),
    _MAX_THINGS,
    without(LIMITS, *SET_BY_POLICY),
    OUTPUT,
    CONFIG,
    name="cleanup",
    epilog="""
\b
Examples:
  asyncgg fleet cleanup nightly.toml --targets targets.toml --dry-run
  asyncgg fleet cleanup nightly.toml --targets targets.toml --max-things 500

Each target has an ordinary run of the policy: its guards, snapshot, decisions, journal and report.
With --max-things a target sends when all targets of its wave have decided.
""",
)
def cleanup(policy: Path, **arguments: Any) -> int:
    """Disassociate what the rules of a policy select in all targets."""
    from asyncgg.cli.fleet_cleanup import clean_up_targets

    return clean_up_targets(policy, arguments)


@make_command(
    THING_NAMES,
    Option("--inventory", "FOLDER", "use these snapshots instead of scanning the targets", "Scope", type=PATH),
    *_TARGETS,
    _MAX_AGE,
    READ_LIMITS,
    OUTPUT,
    CONFIG,
    name="where",
    epilog="""
\b
Examples:
  asyncgg fleet where sensor-17 --targets targets.toml --inventory monday
  asyncgg fleet where --things old.txt --targets targets.toml

Exit code 3: some things are in no target.
""",
)
def where(thing: tuple[str, ...], *, things: str | None, **arguments: Any) -> int:
    """Show in which targets and on which cores the given things are."""
    from asyncgg.cli.commands.where import collect_names
    from asyncgg.cli.console import Console
    from asyncgg.cli.fleet_scan import find_things

    return find_things(collect_names(thing, things, Console(as_json=arguments["json"])), arguments)


_CAMPAIGN_ARGUMENT: Final = Argument("folder", "CAMPAIGN", "folder of the campaign", type=PATH)


@make_command(
    _CAMPAIGN_ARGUMENT,
    *_TARGETS,
    VERIFY,
    READ_LIMITS,
    OUTPUT,
    name="verify",
    epilog="""
\b
Examples:
  asyncgg fleet verify CAMPAIGN --targets targets.toml

As `asyncgg verify CAMPAIGN`, for the targets of the file, and with their connection in it.
""",
)
def verify(folder: Path, *, wait: float | None, failures: Path | None, out: Path | None, **arguments: Any) -> int:
    """Verify the runs of a campaign in some targets."""
    from asyncgg.cli.campaign_verify import verify_campaign

    return verify_campaign(folder, arguments, wait=wait or 0.0, failures=failures, out=out)


@make_command(
    _CAMPAIGN_ARGUMENT,
    *_TARGETS,
    UNDO,
    GUARDS,
    LIMITS,
    Option("--campaign", "FOLDER", "folder of the undo; the default name contains the time", "Campaign", type=PATH),
    OUTPUT,
    name="undo",
    epilog="""
\b
Examples:
  asyncgg fleet undo CAMPAIGN --targets targets.toml --assume-associated

As `asyncgg undo CAMPAIGN`, for the targets of the file, and with their connection in it.
""",
)
def undo(folder: Path, *, campaign: Path | None, **arguments: Any) -> int:
    """Undo the runs of a campaign in some targets."""
    from asyncgg.cli.campaign_undo import undo_campaign

    return undo_campaign(folder, {**arguments, "journal": campaign})


@make_command(
    *_TARGETS,
    OUTPUT,
    CONFIG,
    name="lanes",
    epilog="""
\b
Examples:
  asyncgg fleet lanes --targets targets.toml --json
""",
)
def lanes(**arguments: Any) -> int:
    """List the targets with their index, for --shard and other schedulers."""
    from asyncgg.cli.fleet_run import show_lanes

    return show_lanes(arguments)


command: Final = make_group(
    "fleet",
    plan,
    disassociate,
    inventory,
    where,
    cleanup,
    verify,
    undo,
    lanes,
    description="Run many accounts and Regions side by side, as one campaign.",
    epilog=_EPILOG,
)
