"""The `asyncgg fleet` command."""

from __future__ import annotations

from typing import Any

import click

from asyncgg.cli.options import CONFIG, LANES, LIMITS, OUTPUT, PATH, YES, Argument, Option, make_command
from asyncgg.errors import UsageError

_EPILOG = """
\b
Examples:
  asyncgg fleet plan fleet.csv --targets targets.toml
  asyncgg fleet disassociate fleet.csv --targets targets.toml
  asyncgg fleet disassociate fleet.csv --targets accounts.yml -t prod
  asyncgg fleet lanes --targets targets.toml --json

The manifest has the columns core,thing and, to select the target of a row, account, region or target.
A campaign is a folder with one journal for each target: resume, retry, status and report take the folder.
"""


@make_command(
    Argument(
        "action",
        "plan|disassociate|lanes",
        "what to do in all targets",
        type=click.Choice(["plan", "disassociate", "lanes"]),
    ),
    Argument("manifest", "MANIFEST", "associations: .csv, .jsonl (also .gz), .parquet, s3:// or -", required=False),
    Option("--targets", "FILE", "the targets: TOML, or accounts.yml of c7n-org", "Campaign", type=PATH, required=True),
    Option("-t, --tag", "TAG", "only targets with this tag; repeatable", "Campaign", multiple=True),
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
    epilog=_EPILOG,
)
def command(action: str, manifest: str | None, **arguments: Any) -> int:
    """Plan or disassociate in many accounts and Regions, side by side, each within its quota."""
    from asyncgg.cli.fleet_run import run_fleet_action

    if action != "lanes" and manifest is None:
        raise UsageError(f"fleet {action} needs a manifest; see asyncgg fleet --help")
    return run_fleet_action(action, manifest or "", arguments)
