"""Rule: `asyncgg cleanup`: its options, and what `--check` says; the night and `--explain` are files beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from asyncgg.cli.console import Console
from asyncgg.cli.options import CONFIG, CONNECTION, LIMITS, OUTPUT, extract_settings, with_options
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

_EXIT_INVALID: Final = 2

PolicyPath = Annotated[Path, typer.Argument(metavar="POLICY", help="the policy, a TOML file", show_default=False)]

_SET_BY_POLICY: Final = {"quota_share", "abort_at", "abort_after", "deadline", "expect_account"}
_CONNECTION: Final = [option for option in CONNECTION if option.name not in _SET_BY_POLICY]
_LIMITS: Final = [option for option in LIMITS if option.name not in _SET_BY_POLICY]


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
    **arguments: Any,
) -> int:
    """Disassociate what a policy's rules say, night after night."""
    if check + dry_run + (explain is not None) > 1:
        raise UsageError("give one of --check, --dry-run, --explain")
    if inventory is not None and explain is None:
        raise UsageError("--inventory belongs to --explain: a clean-up decides by a sweep of its own")
    settings = load_settings(extract_settings(arguments), config=arguments["config"])
    console = Console(as_json=bool(arguments["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")
    if check:
        return _check(policy, console)
    if explain is not None:
        from asyncgg.cli.explaining import explain_thing

        return explain_thing(policy, explain, settings, console, inventory=inventory)
    from asyncgg.cli.cleanup_run import run_policy

    return run_policy(policy, settings, console, dry_run=dry_run)


def _check(path: Path, console: Console) -> int:
    from asyncgg.cleanup import Diagnostic, check_policy

    checked = check_policy(path)
    console.print(*(f"error: {error.format(str(path))}" for error in checked.errors))
    console.print(*(f"warning: {warning.format(str(path))}" for warning in checked.warnings))
    policy = checked.policy

    def to_dicts(diagnostics: tuple[Diagnostic, ...]) -> list[dict[str, Any]]:
        return [
            {"line": diagnostic.line, "key": diagnostic.key, "message": diagnostic.message}
            for diagnostic in diagnostics
        ]

    document: dict[str, Any] = {
        "schema": "asyncgg.cleanup-check/1",
        "policy": str(path),
        "valid": policy is not None,
        "name": policy.name if policy else None,
        "rules": [rule.id for rule in policy.rules] if policy else [],
        "permissions": list(policy.permissions) if policy else [],
        "errors": to_dicts(checked.errors),
        "warnings": to_dicts(checked.warnings),
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
    console.write_result(document, lines)
    return 0 if policy else _EXIT_INVALID
