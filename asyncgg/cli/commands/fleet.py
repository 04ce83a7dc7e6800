"""The `asyncgg fleet` commands."""

from __future__ import annotations

from typing import Any, Final

from asyncgg.cli.options import (
    CONFIG,
    LANES,
    LIMITS,
    OUTPUT,
    PATH,
    YES,
    Argument,
    Option,
    make_command,
    make_group,
)

_EPILOG: Final = """
\b
Examples:
  asyncgg fleet plan fleet.csv --targets targets.toml
  asyncgg fleet disassociate fleet.csv --targets targets.toml
  asyncgg fleet lanes --targets targets.toml --json

A campaign is a folder with one journal for each target: resume, retry, status and report take the folder.
"""
_TARGETS: Final = (
    Option("--targets", "FILE", "the targets: TOML, or accounts.yml of c7n-org", "Campaign", type=PATH, required=True),
    Option("-t, --tag", "TAG", "only targets with this tag; repeatable", "Campaign", multiple=True),
)
_RUN: Final = (
    Argument("manifest", "MANIFEST", "associations: .csv, .jsonl (also .gz), .parquet, s3:// or -"),
    *_TARGETS,
    Option("--campaign", "FOLDER", "folder of the campaign; the default name contains the time", "Campaign", type=PATH),
    LANES,
    Option("--waves", "SIZES", "targets per wave, such as 1,5,25%; a failed wave is the last one", "Campaign"),
    Option("--canary", "TARGET", "run this target first, alone", "Campaign"),
    YES,
    Option(
        "--max-things", "COUNT", "stop before the first request if all targets have more things", "Safety", type=int
    ),
    Option("--protect", "FILE", "names or globs of things and cores that must not be changed", "Safety"),
    LIMITS,
    Option("--format", "FORMAT", "csv, jsonl or parquet; overrides the file name", "Manifest"),
    Option("--skip-bad-rows", help="skip invalid rows, and rows that no target takes", panel="Manifest"),
    Option("--rejects", "FILE", "write the bad rows to this CSV file", "Manifest", type=PATH),
    OUTPUT,
    CONFIG,
)
_MANIFEST_NOTE: Final = (
    "The manifest has the columns core,thing and, to select the target of a row, account, region or target."
)


@make_command(
    *_RUN,
    name="plan",
    epilog=f"""
\b
Examples:
  asyncgg fleet plan fleet.csv --targets targets.toml

{_MANIFEST_NOTE}
""",
)
def plan(manifest: str, **arguments: Any) -> int:
    """Show things, requests and time of each target; send nothing."""
    from asyncgg.cli.fleet_run import run_fleet_action

    return run_fleet_action("plan", manifest, arguments)


@make_command(
    *_RUN,
    name="disassociate",
    epilog=f"""
\b
Examples:
  asyncgg fleet disassociate fleet.csv --targets targets.toml
  asyncgg fleet disassociate fleet.csv --targets accounts.yml -t prod

{_MANIFEST_NOTE}
""",
)
def disassociate(manifest: str, **arguments: Any) -> int:
    """Disassociate in many accounts and Regions, side by side, each within its quota."""
    from asyncgg.cli.fleet_run import run_fleet_action

    return run_fleet_action("disassociate", manifest, arguments)


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
    from asyncgg.cli.fleet_run import run_fleet_action

    return run_fleet_action("lanes", "", arguments)


command: Final = make_group(
    "fleet",
    plan,
    disassociate,
    lanes,
    description="Run many accounts and Regions side by side, as one campaign.",
    epilog=_EPILOG,
)
