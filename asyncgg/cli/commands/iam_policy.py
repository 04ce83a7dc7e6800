"""The `asyncgg iam-policy` command."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Final, Literal

import click

from asyncgg.cli.options import DEBUG, PATH, Argument, Option, make_command
from asyncgg.errors import SettingsError, UsageError
from asyncgg.permissions import (
    COMMAND_ACTIONS,
    LOCAL_COMMANDS,
    OPTION_ACTIONS,
    PolicyScope,
    command_actions,
    iam_policy,
    partition_of,
    reads_state_only,
)

_EPILOG = """
\b
Examples:
  asyncgg iam-policy disassociate verify --region eu-west-1
  asyncgg iam-policy disassociate --option things --cores 'berlin-*'
  asyncgg iam-policy disassociate --cores ./cores.txt --region eu-west-1
  asyncgg iam-policy cleanup --policy nightly.toml --state s3://state/nightly
  asyncgg iam-policy decommission quarantine --things 'model7-*'
  asyncgg iam-policy --role-arn arn:aws:iam::111122223333:role/remove-devices

Without a command the policy allows what `disassociate` with a manifest needs or, with --role-arn, only to
assume the role. Conditions restrict actions that have no resource to the Region.
"""

_NAME_PATTERN: Final = re.compile(r"[a-zA-Z0-9:_*?-]{1,128}")
_PATTERNS: Final = {
    "region": (r"[a-z]{2}(?:-[a-z]+)+-\d+", "the name of an AWS Region"),
    "account": (r"\d{12}", "12 digits"),
    "read": (r"s3://[^/\s]+/\S+", "s3://BUCKET/KEY"),
    "state": (r"s3://[^/\s]+/\S+", "s3://BUCKET/KEY"),
    "notify": (r"arn:[a-z0-9-]+:sns:[a-z0-9-]+:\d{12}:\S+", "the ARN of an SNS topic"),
    "role-arn": (r"arn:[a-z0-9-]+:iam::\d{12}:role/\S+", "the ARN of a role"),
}
"""By option: the form of its values, and what they are."""
_MAX_POLICY_SIZE: Final = 6144
"""Characters without white space [IAM User Guide: IAM and AWS STS quotas]."""
_COMMANDS: Final = (*COMMAND_ACTIONS, *sorted(LOCAL_COMMANDS))


@make_command(
    Argument("commands", "COMMAND", "commands to allow: " + ", ".join(COMMAND_ACTIONS), nargs=-1),
    Option(
        "--option",
        "NAME",
        f"an option of a command that needs more; repeatable: {', '.join(OPTION_ACTIONS)}",
        "Scope",
        type=click.Choice(list(OPTION_ACTIONS)),
        multiple=True,
    ),
    Option("--region", "REGION", "Region of the resources [default: all]", "Scope"),
    Option("--account", "ID", "account of the resources [default: all]", "Scope"),
    Option(
        "--cores",
        "FILE|NAME",
        "a list of core devices as for `disassociate`, or a name or pattern with * and ?; repeatable [default: all]",
        "Scope",
        multiple=True,
    ),
    Option(
        "--things",
        "FILE|NAME",
        "the same for things, which `cleanup` and `decommission` ask for or change; repeatable [default: all]",
        "Scope",
        multiple=True,
    ),
    Option("--policy", "FILE", "also what the rules and lists of this clean-up policy need", "Scope", type=PATH),
    Option("--read", "s3://BUCKET/KEY", "a manifest or list to read; repeatable", "Scope", multiple=True),
    Option("--state", "s3://BUCKET/PREFIX", "the state to keep, or to read", "Scope"),
    Option("--notify", "ARN", "an SNS topic to notify; repeatable", "Scope", multiple=True),
    Option("--role-arn", "ARN", "a role to assume; repeatable", "Scope", multiple=True),
    DEBUG,
    epilog=_EPILOG,
    name="iam-policy",
)
def command(commands: tuple[str, ...], *, policy: Path | None, debug: bool, **scope: Any) -> int:
    """Print the least IAM policy that the given commands need."""
    names = _join_words(commands) or ([] if scope["role_arn"] else ["disassociate"])
    try:
        actions = command_actions(names, scope["option"])
    except KeyError as error:
        wanted = " or ".join(OPTION_ACTIONS[error.args[0]])
        raise UsageError(f"--option {error.args[0]} requires the command {wanted}") from None
    objects = list(scope["read"])
    if policy is not None:
        from asyncgg.cleanup.policy.loader import load_policy

        rules, _ = load_policy(policy)
        actions += rules.iot_actions
        objects += rules.s3_objects
    for option, (pattern, expected) in _PATTERNS.items():
        values = scope[option.replace("-", "_")] or ()
        for value in (values,) if isinstance(values, str) else values:
            if not re.fullmatch(pattern, value):
                raise SettingsError(f"--{option}: {value!r} is not {expected}")
    document = iam_policy(
        actions,
        PolicyScope(
            region=scope["region"] or "*",
            account=scope["account"] or "*",
            partition=partition_of(scope["region"] or ""),
            cores=_read_names(scope["cores"], "core") or ("*",),
            things=_read_names(scope["things"], "thing") or ("*",),
            s3_objects=objects,
            state=scope["state"] or "",
            reads_state_only=reads_state_only(names),
            topics=scope["notify"],
            roles=scope["role_arn"],
        ),
    )
    if not document["Statement"]:
        raise UsageError(f"{', '.join(names)}: no permission is needed; --state and --read name what is read from S3")
    if (size := len(json.dumps(document, separators=(",", ":")))) > _MAX_POLICY_SIZE:
        sys.stderr.write(
            f"warning: {size:,} characters; IAM accepts {_MAX_POLICY_SIZE:,} in a managed policy: use patterns with *\n"
        )
    if sys.stdout is not None:  # None if it was closed before the start
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0


def _join_words(words: tuple[str, ...]) -> list[str]:
    """The names of commands, some of which have two words. Raises `UsageError`."""
    names: list[str] = []
    waiting = list(words)
    while waiting:
        pair = " ".join(waiting[:2])
        name = pair if pair in _COMMANDS else waiting[0]
        if name not in _COMMANDS:
            starting = [known for known in _COMMANDS if known.startswith(f"{name} ")]
            raise UsageError(f"{pair if starting else name}: must be one of: {', '.join(starting or COMMAND_ACTIONS)}")
        names.append(name)
        del waiting[: len(name.split())]
    return names


def _read_names(specs: tuple[str, ...], kind: Literal["core", "thing"]) -> list[str]:
    """The names and patterns, with those of the files: a file name has a dot or a slash, which no name has."""
    from asyncgg.manifest.name_lists import read_names

    names: list[str] = []
    for spec in specs:
        names += [spec] if _NAME_PATTERN.fullmatch(spec) else read_names(spec, kind)
    return list(dict.fromkeys(names))
