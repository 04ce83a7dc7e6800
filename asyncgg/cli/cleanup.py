"""Rule: `asyncgg cleanup`: its options, and what `--check` says; rules, sweep and run live elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from asyncgg.cli.options import Opt, with_options
from asyncgg.cli.output import Output
from asyncgg.errors import UsageError

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """
\b
Examples:
  asyncgg cleanup nightly.toml --check
  asyncgg cleanup nightly.toml --check --json
"""

_USAGE: Final = 2

PolicyPath = Annotated[Path, typer.Argument(metavar="POLICY", help="the policy, a TOML file", show_default=False)]

_OPTIONS = (
    Opt("json", help="standard output is one JSON object and nothing else", panel="Output"),
    Opt("debug", help="show a traceback with an error", panel="Output"),
)


@with_options(_OPTIONS)
def command(
    policy: PolicyPath,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="read the policy, name every fault by line; ask nobody", show_default=False)
    ] = False,
    **given: Any,
) -> int:
    """Disassociate what a policy's rules say, night after night."""
    output = Output(as_json=bool(given["json"]))
    if not check:
        raise UsageError("cleanup can only check a policy so far: give --check")
    return _check(policy, output)


def _check(path: Path, output: Output) -> int:
    from asyncgg.cleanup import Fault, check_policy

    checked = check_policy(path)
    output.say(*(f"error: {fault.at(str(path))}" for fault in checked.faults))
    output.say(*(f"warning: {doubt.at(str(path))}" for doubt in checked.warnings))
    policy = checked.policy

    def listed(faults: tuple[Fault, ...]) -> list[dict[str, Any]]:
        return [{"line": fault.line, "key": fault.key, "message": fault.message} for fault in faults]

    document: dict[str, Any] = {
        "schema": "asyncgg.cleanup-check/1",
        "policy": str(path),
        "valid": policy is not None,
        "name": policy.name if policy else None,
        "rules": [rule.id for rule in policy.rules] if policy else [],
        "permissions": list(policy.permissions) if policy else [],
        "errors": listed(checked.faults),
        "warnings": listed(checked.warnings),
    }
    if policy is None:
        count = len(checked.faults)
        lines = [f"{path}: {count} {'fault' if count == 1 else 'faults'}"]
    else:
        lines = [
            f"{path}: the policy {policy.name} is sound",
            f"  rules      {', '.join(rule.id for rule in policy.rules)}",
            f"  asks       {', '.join(policy.permissions) or 'nobody but Greengrass'}",
            f"  protects   {len(policy.protect.entries):,} names and globs",
            f"  state      {policy.folder}",
        ]
    output.result(document, lines)
    return 0 if policy else _USAGE
