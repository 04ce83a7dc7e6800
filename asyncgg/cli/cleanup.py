"""Rule: `asyncgg cleanup`: its options, and what `--check` says; the night and `--explain` are files beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from asyncgg.cli.options import CONFIG, CONNECTION, LIMITS, OUTPUT, given_settings, with_options
from asyncgg.cli.output import Output
from asyncgg.errors import UsageError
from asyncgg.settings import load_settings

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """
\b
Examples:
  asyncgg cleanup nightly.toml --check
  asyncgg cleanup nightly.toml --dry-run
  asyncgg cleanup nightly.toml --explain sensor-0815
  asyncgg cleanup nightly.toml --json > report.json

\b
Nobody is asked for a confirmation: the policy's guards decide. Its state folder keeps each night's snapshot,
journal, decisions and report.
"""

_USAGE: Final = 2

PolicyPath = Annotated[Path, typer.Argument(metavar="POLICY", help="the policy, a TOML file", show_default=False)]

_OF_THE_POLICY: Final = {"quota_share", "abort_at", "abort_after", "deadline", "expect_account"}
_CONNECTION: Final = [option for option in CONNECTION if option.name not in _OF_THE_POLICY]
_LIMITS: Final = [option for option in LIMITS if option.name not in _OF_THE_POLICY]


@with_options(_CONNECTION, _LIMITS, OUTPUT, (CONFIG,))
def command(
    policy: PolicyPath,
    *,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="read the policy, name every fault by line; ask nobody",
            rich_help_panel="What",
            show_default=False,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="sweep, decide and check the guards; nothing is disassociated, nobody is told",
            rich_help_panel="What",
            show_default=False,
        ),
    ] = False,
    explain: Annotated[
        str | None,
        typer.Option(
            "--explain",
            metavar="THING",
            help="what the policy says of one thing, rule by rule",
            rich_help_panel="What",
            show_default=False,
        ),
    ] = None,
    inventory: Annotated[
        Path | None,
        typer.Option(
            "--inventory",
            metavar="FILE",
            help="the snapshot that --explain looks at (the last night's)",
            rich_help_panel="What",
            show_default=False,
        ),
    ] = None,
    **given: Any,
) -> int:
    """Disassociate what a policy's rules say, night after night."""
    if check + dry_run + (explain is not None) > 1:
        raise UsageError("give one of --check, --dry-run, --explain")
    if inventory is not None and explain is None:
        raise UsageError("--inventory belongs to --explain: a clean-up decides by a sweep of its own")
    settings = load_settings(given_settings(given), config=given["config"])
    output = Output(as_json=bool(given["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")
    if check:
        return _check(policy, output)
    if explain is not None:
        from asyncgg.cli.explaining import explain_thing

        return explain_thing(policy, explain, settings, output, inventory=inventory)
    from asyncgg.cli.night import run_policy

    return run_policy(policy, settings, output, dry_run=dry_run)


def _check(path: Path, output: Output) -> int:
    from asyncgg.cleanup import Diagnostic, check_policy

    checked = check_policy(path)
    output.say(*(f"error: {fault.format(str(path))}" for fault in checked.errors))
    output.say(*(f"warning: {doubt.format(str(path))}" for doubt in checked.warnings))
    policy = checked.policy

    def listed(faults: tuple[Diagnostic, ...]) -> list[dict[str, Any]]:
        return [{"line": fault.line, "key": fault.key, "message": fault.message} for fault in faults]

    document: dict[str, Any] = {
        "schema": "asyncgg.cleanup-check/1",
        "policy": str(path),
        "valid": policy is not None,
        "name": policy.name if policy else None,
        "rules": [rule.id for rule in policy.rules] if policy else [],
        "permissions": list(policy.permissions) if policy else [],
        "errors": listed(checked.errors),
        "warnings": listed(checked.warnings),
    }
    if policy is None:
        count = len(checked.errors)
        lines = [f"{path}: {count} {'fault' if count == 1 else 'faults'}"]
    else:
        lines = [
            f"{path}: the policy {policy.name} is sound",
            f"  rules      {', '.join(rule.id for rule in policy.rules)}",
            f"  asks       {', '.join(policy.permissions) or 'nobody but Greengrass'}",
            f"  protects   {len(policy.protect.entries):,} names and globs",
            f"  state      {policy.state_dir}",
        ]
    output.result(document, lines)
    return 0 if policy else _USAGE
