"""The `asyncgg iam-policy` command."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Final

import click

from asyncgg.cli.options import DEBUG, PATH, Argument, Option, make_command
from asyncgg.errors import SettingsError, UsageError
from asyncgg.permissions import COMMAND_ACTIONS, LOOKUP_ACTIONS, PolicyScope, iam_policy

_EPILOG = """
\b
Examples:
  asyncgg iam-policy disassociate verify --region eu-west-1
  asyncgg iam-policy disassociate --lookup things --cores 'berlin-*'
  asyncgg iam-policy disassociate --cores ./cores.txt --region eu-west-1
  asyncgg iam-policy cleanup --policy nightly.toml --state s3://state/nightly

Without a command the policy allows what `disassociate` with a manifest needs. Conditions restrict
actions that have no resource to the Region.
"""

_CORE_PATTERN: Final = re.compile(r"[a-zA-Z0-9:_*?-]{1,128}")
_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d+")


@make_command(
    Argument("commands", "COMMAND", "commands to allow: " + ", ".join(COMMAND_ACTIONS), nargs=-1),
    Option(
        "--lookup",
        "KIND",
        "`things` or `cores`: what `disassociate` looks up instead of reading a manifest",
        "Scope",
        type=click.Choice(list(LOOKUP_ACTIONS)),
    ),
    Option("--region", "REGION", "Region of the resources (all)", "Scope"),
    Option("--account", "ID", "account of the resources (all)", "Scope"),
    Option(
        "--cores",
        "FILE|NAME",
        "a list of core devices as for `disassociate`, or a name or pattern with * and ?; repeatable (all)",
        "Scope",
        multiple=True,
    ),
    Option("--policy", "FILE", "also what the rules and lists of this clean-up policy need", "Scope", type=PATH),
    Option("--read", "s3://BUCKET/KEY", "a manifest or list to read; repeatable", "Scope", multiple=True),
    Option("--state", "s3://BUCKET/PREFIX", "the state to keep", "Scope"),
    Option("--notify", "ARN", "an SNS topic to notify; repeatable", "Scope", multiple=True),
    DEBUG,
    epilog=_EPILOG,
    name="iam-policy",
)
def command(
    commands: tuple[str, ...],
    *,
    lookup: str | None,
    region: str | None,
    account: str | None,
    cores: tuple[str, ...],
    policy: Path | None,
    read: tuple[str, ...],
    state: str | None,
    notify: tuple[str, ...],
    debug: bool,
) -> int:
    """Print the least IAM policy that the given commands need."""
    commands = commands or ("disassociate",)
    for name in commands:
        if name not in COMMAND_ACTIONS:
            raise UsageError(
                f"{name}: must be one of: {', '.join(COMMAND_ACTIONS)};"
                " docs/reference/permissions.md has the actions of the other commands"
            )
    if lookup is not None and "disassociate" not in commands:
        raise UsageError("--lookup requires the command disassociate")
    actions = [action for name in commands for action in COMMAND_ACTIONS[name]]
    if lookup is not None:
        actions += LOOKUP_ACTIONS[lookup]
    objects = list(read)
    if policy is not None:
        from asyncgg.cleanup.policy.loader import load_policy

        rules, _ = load_policy(policy)
        actions += rules.iot_actions
        objects += rules.s3_objects
    _check(region, account, [*objects, *([state] if state else [])], notify)
    scope = PolicyScope(
        region or "*", account or "*", _partition(region), _read_cores(cores) or ("*",), objects, state or "", notify
    )
    if sys.stdout is not None:  # None if it was closed before the start
        sys.stdout.write(json.dumps(iam_policy(actions, scope), indent=2) + "\n")
    return 0


def _read_cores(specs: tuple[str, ...]) -> list[str]:
    """The names and patterns, with those of the files: a file name has a dot or a slash, which no core device has."""
    from asyncgg.manifest.name_lists import read_names

    cores: list[str] = []
    for spec in specs:
        cores += [spec] if _CORE_PATTERN.fullmatch(spec) else read_names(spec, "core")
    return list(dict.fromkeys(cores))


def _check(region: str | None, account: str | None, urls: list[str], topics: tuple[str, ...]) -> None:
    if region is not None and not _REGION.fullmatch(region):
        raise SettingsError(f"--region: {region!r} is not the name of an AWS Region")
    if account is not None and not re.fullmatch(r"\d{12}", account):
        raise SettingsError(f"--account: {account!r} is not 12 digits")
    for url in urls:
        if not re.fullmatch(r"s3://[^/\s]+/\S+", url):
            raise SettingsError(f"{url!r} is not s3://BUCKET/KEY")
    for topic in topics:
        if not re.fullmatch(r"arn:[a-z0-9-]+:sns:[a-z0-9-]+:\d{12}:\S+", topic):
            raise SettingsError(f"--notify: {topic!r} is not the ARN of an SNS topic")


def _partition(region: str | None) -> str:
    """The partition of a Region, by the prefix of its name."""
    prefixes = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "us-iso": "aws-iso", "eusc-": "aws-eusc"}
    return next((partition for prefix, partition in prefixes.items() if (region or "").startswith(prefix)), "aws")
