"""The `asyncgg doctor` command."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.context import CommandContext
from asyncgg.cli.options import CONFIG, CONNECTION, JOURNAL, LIMITS, NOTIFY, OUTPUT, PATH, STATE, Option, make_command
from asyncgg.cli.signals import raise_on_signal

_EPILOG = """
\b
Examples:
  asyncgg doctor --region eu-west-1
  asyncgg doctor --policy nightly.toml --json
  asyncgg doctor --state s3://bucket/runs --notify ARN

doctor only reads: one request per permission. In a state it writes an empty object and deletes it again.
What cannot be tried is simulated by IAM, if iam:SimulatePrincipalPolicy is allowed. Exit code 5:
credentials or a permission are missing; 2: the configuration, the network or this machine is not usable.
"""

_LIMITS: Final = ("quota", "concurrency")
_SCHEMA: Final = "asyncgg.doctor/1"


@make_command(
    Option("--policy", "FILE", "also check what this clean-up policy needs", "Scope", type=PATH),
    CONNECTION,
    STATE[0],
    NOTIFY,
    JOURNAL,
    [option for option in LIMITS if option.name in _LIMITS],
    OUTPUT,
    CONFIG,
    epilog=_EPILOG,
)
def command(*, policy: Path | None, notify: tuple[str, ...], **arguments: Any) -> int:
    """Check credentials, connection, permissions, quota, state and this machine."""
    from asyncgg.cleanup.policy.loader import load_policy
    from asyncgg.cleanup.report import parse_targets
    from asyncgg.cli.supervisor import run_async
    from asyncgg.doctor import CheckOutcome, CheckStatus, exit_code, run_checks
    from asyncgg.notify import parse_target

    context = CommandContext.load(arguments)
    console = context.console
    rules = load_policy(policy)[0] if policy else None
    targets = [*map(parse_target, notify), *(parse_targets(rules) if rules else [])]
    results: list[CheckOutcome] = []

    async def check() -> None:
        async for result in run_checks(context.connection, context.settings, rules, targets):
            results.append(result)
            console.log_event({"event": "check", **_to_dict(result)}, *_format(result))

    with raise_on_signal():
        run_async(check())
    code = exit_code(results)
    problems = sum(result.status in (CheckStatus.FAILED, CheckStatus.WARNING) for result in results)
    document = {"schema": _SCHEMA, "healthy": not problems, "exit": code, "checks": list(map(_to_dict, results))}
    console.write_result(document, ["no problems found" if not problems else f"problems found: {problems}"])
    return code


def _to_dict(result: Any) -> dict[str, Any]:
    fields = asdict(result)
    return {"check": fields["check"], "status": fields["status"].value, "detail": fields["detail"]} | (
        {"next": fields["next_step"]} if fields["next_step"] else {}
    )


def _format(result: Any) -> list[str]:
    line = f"{result.status.value:<8} {result.check}: {result.detail}"
    return [line, f"         next: {result.next_step}"] if result.next_step else [line]
