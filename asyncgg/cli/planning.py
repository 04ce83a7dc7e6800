"""Rule: a plan as lines for a person and as one JSON object; nothing is decided or sent here."""

from __future__ import annotations

from typing import Any, Final

from asyncgg.report.summary import duration
from asyncgg.runs import Plan
from asyncgg.runs.undoing import WORDS

__all__ = ["SCHEMA", "plan_lines", "plan_object", "where"]

SCHEMA: Final = "asyncgg.plan/1"

_LEFT_OUT: Final = {fate.value: words for fate, words in WORDS.items()}


def plan_object(plan: Plan) -> dict[str, Any]:
    """The plan as `asyncgg.plan/1`."""
    target = plan.target
    return {
        "schema": SCHEMA,
        "operation": plan.operation.value,
        "source": plan.source,
        "things": {
            "total": plan.things,
            "rejected": plan.rejected,
            "duplicates": plan.duplicates,
            "protected": plan.protected,
        },
        "cores": plan.cores,
        "largest_core": plan.largest_core,
        "requests": plan.requests,
        "rate": plan.rate,
        "burst": plan.burst,
        "concurrency": plan.concurrency,
        "per_core": plan.per_core,
        "seconds": round(plan.seconds, 3),
        "region": target.region if target else None,
        "endpoint": target.endpoint_url if target else None,
        "account": plan.account or None,
        "arn": plan.arn or None,
        "left_out": dict(plan.left_out),
    }


def where(plan: Plan) -> list[str]:
    """Whose things, and where."""
    account = plan.account or f"unknown: {plan.account_unknown}"
    if plan.account and plan.arn:
        account += f" ({plan.arn})"
    lines = [f"  account    {account}"]
    if plan.target is None:
        return [*lines, "  region     unknown: the documented quota of most Regions is assumed"]
    if plan.target.custom:
        return [*lines, f"  endpoint   {plan.target.endpoint_url} (custom, nothing is called elsewhere)"]
    return [*lines, f"  region     {plan.target.region}"]


def plan_lines(plan: Plan) -> list[str]:
    """The plan for a person."""
    things, cores = _count(plan.things, "thing"), _count(plan.cores, "core")
    lines = [f"plan: {plan.operation} {things} {plan.operation.preposition} {cores}", *where(plan)]
    lines.append(f"  {plan.origin:<10} {plan.source}")
    left_out = [
        _count(number, name)
        for number, name in ((plan.rejected, "bad row"), (plan.duplicates, "duplicate"), (plan.protected, "protected"))
        if number
    ] + [f"{number:,} {_LEFT_OUT.get(name, name)}" for name, number in plan.left_out.items()]
    if left_out:
        lines.append(f"  left out   {', '.join(left_out)}")
        lines += [f"             {row}" for row in plan.bad_rows]
    lines.append(f"  requests   {plan.requests:,}, the largest core has {_count(plan.largest_core, 'thing')}")
    lines.append(f"  time       {duration(plan.seconds)} at {plan.rate:g} requests/s")
    return lines


def _count(number: int, name: str) -> str:
    plural = "" if number == 1 or name == "protected" else "s"
    return f"{number:,} {name}{plural}"
