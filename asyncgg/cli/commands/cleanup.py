"""The `asyncgg cleanup` command."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.console import Console
from asyncgg.cli.context import CommandContext
from asyncgg.cli.options import (
    CONFIG,
    CONNECTION,
    LIMITS,
    PATH,
    RUN_OUTPUT,
    STATE,
    Argument,
    Option,
    make_command,
    without,
)
from asyncgg.errors import UsageError

_EPILOG = """
\b
Examples:
  asyncgg cleanup nightly.toml --check
  asyncgg cleanup nightly.toml --dry-run
  asyncgg cleanup nightly.toml --explain sensor-0815
  asyncgg cleanup nightly.toml --json > report.json
  asyncgg cleanup nightly.toml --state s3://bucket/nightly

There is no confirmation: the guards of the policy decide. Its state directory keeps the snapshot, journal,
decisions and report of each run.
"""

_EXIT_INVALID: Final = 2
SET_BY_POLICY: Final = (
    "quota_share",
    "abort_at",
    "abort_after",
    "absent",
    "missing_cores",
    "deadline",
    "expect_account",
)
"""Settings that a policy has in its [guards]."""


@make_command(
    Argument("policy", "POLICY", "policy file, TOML", type=PATH),
    Option("--check", help="validate the policy offline", panel="Scope"),
    Option("--dry-run", help="scan, decide and check the guards; disassociate and notify nothing", panel="Scope"),
    Option("--explain", "THING", "show what the policy decides for one thing, rule by rule", "Scope"),
    Option("--inventory", "SNAPSHOT", "snapshot for --explain [default: that of the last run]", "Scope", type=PATH),
    without(CONNECTION, *SET_BY_POLICY),
    without(LIMITS, *SET_BY_POLICY),
    STATE,
    RUN_OUTPUT,
    CONFIG,
    epilog=_EPILOG,
)
def command(
    policy: Path, *, check: bool, dry_run: bool, explain: str | None, inventory: Path | None, **arguments: Any
) -> int:
    """Disassociate the client devices that the rules of a policy select."""
    if check + dry_run + (explain is not None) > 1:
        raise UsageError("give only one of --check, --dry-run and --explain")
    if inventory is not None and explain is None:
        raise UsageError("--inventory requires --explain: a cleanup decides on its own scan")
    context = CommandContext.load(arguments)
    if check:
        return _check(policy, context.console)
    from asyncgg.cli.cleanup_run import explain_thing, run_policy

    if explain is not None:
        return explain_thing(policy, explain, context, inventory=inventory)
    return run_policy(policy, context, dry_run=dry_run)


def _check(path: Path, console: Console) -> int:
    from asyncgg.cleanup.policy.loader import check_policy

    checked = check_policy(path)
    console.print(*(f"error: {error.format(str(path))}" for error in checked.errors))
    console.print(*(f"warning: {warning.format(str(path))}" for warning in checked.warnings))
    policy = checked.policy
    document: dict[str, Any] = {
        "schema": "asyncgg.cleanup-check/1",
        "policy": str(path),
        "valid": policy is not None,
        "name": policy.name if policy else None,
        "rules": [rule.id for rule in policy.rules] if policy else [],
        "permissions": list(policy.permissions) if policy else [],
        "errors": [asdict(error) for error in checked.errors],
        "warnings": [asdict(warning) for warning in checked.warnings],
    }
    if policy is None:
        count = len(checked.errors)
        lines = [f"{path}: {count} {'error' if count == 1 else 'errors'}"]
    else:
        protected = len(policy.protect.entries)
        lines = [
            f"{path}: OK (policy {policy.name})",
            f"  rules      {', '.join(rule.id for rule in policy.rules)}",
            f"  requires   {', '.join(policy.permissions) or 'no AWS IoT permissions'}",
            f"  protects   {protected:,} {'name or glob' if protected == 1 else 'names and globs'}",
            f"  state      {policy.state_dir}",
        ]
    console.write_result(document, lines)
    return 0 if policy else _EXIT_INVALID
