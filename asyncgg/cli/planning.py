"""Rule: a plan as lines for a person and as one JSON object; nothing is decided or sent here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from asyncgg.manifest.writing import format_timestamp
from asyncgg.report.summary import format_duration
from asyncgg.runs import Plan, discovery
from asyncgg.runs.plan import MissingNames, MissingReason
from asyncgg.runs.undoing import DECISION_LABELS

__all__ = ["SCHEMA", "plan_lines", "plan_object", "where"]

SCHEMA: Final = "asyncgg.plan/1"

_LEFT_OUT: Final = {fate.value: words for fate, words in DECISION_LABELS.items()}


def plan_object(plan: Plan) -> dict[str, Any]:
    """The plan as `asyncgg.plan/1`."""
    target, lookup = plan.target, plan.lookup
    absent = lookup.missing if lookup else {}
    return {
        "schema": SCHEMA,
        "operation": plan.operation.value,
        "source": plan.source,
        "things": {
            "total": plan.things,
            "rejected": plan.rejected,
            "duplicates": plan.duplicates,
            "protected": plan.protected,
            "nowhere": _number(absent, MissingReason.NOT_FOUND),
        },
        "cores": plan.cores,
        "cores_unknown": _number(absent, MissingReason.UNKNOWN),
        "cores_empty": _number(absent, MissingReason.EMPTY),
        "cores_unlisted": _number(absent, MissingReason.INCOMPLETE),
        "largest_core": plan.largest_core,
        "requests": plan.requests,
        "rate": plan.rate,
        "burst": plan.burst,
        "concurrency": plan.concurrency,
        "per_core": plan.per_core,
        "seconds": round(plan.seconds, 3),
        "region": target.region if target else None,
        "endpoint": target.url if target else None,
        "account": plan.account or None,
        "arn": plan.arn or None,
        "left_out": dict(plan.excluded),
        "inventory": lookup.inventory if lookup else None,
        "taken": format_timestamp(lookup.taken_at) if lookup else None,
        "absent": {absence.value: list(names.examples) for absence, names in absent.items()},
    }


def where(plan: Plan) -> list[str]:
    """Whose things, and where."""
    account = plan.account or f"unknown: {plan.account_unknown_reason}"
    if plan.account and plan.arn:
        account += f" ({plan.arn})"
    lines = [f"  account    {account}"]
    if plan.target is None:
        return [*lines, "  region     unknown: the documented quota of most Regions is assumed"]
    if plan.target.custom:
        return [*lines, f"  endpoint   {plan.target.url} (custom, nothing is called elsewhere)"]
    return [*lines, f"  region     {plan.target.region}"]


def plan_lines(plan: Plan) -> list[str]:
    """The plan for a person."""
    things, cores = _count(plan.things, "thing"), _count(plan.cores, "core")
    lines = [f"plan: {plan.operation} {things} {plan.operation.preposition} {cores}", *where(plan)]
    lines.append(f"  {plan.source_label:<10} {plan.source}")
    left_out = [
        _count(number, name)
        for number, name in ((plan.rejected, "bad row"), (plan.duplicates, "duplicate"), (plan.protected, "protected"))
        if number
    ] + [f"{number:,} {_LEFT_OUT.get(name, name)}" for name, number in plan.excluded.items()]
    told = [", ".join(left_out), *map(str, plan.bad_rows)] if left_out else []
    if plan.lookup:
        told += [_absent(absence, names) for absence, names in plan.lookup.missing.items()]
    lines += [f"  {'left out' if number == 0 else '':<10} {text}" for number, text in enumerate(told)]
    lines.append(f"  requests   {plan.requests:,}, the largest core has {_count(plan.largest_core, 'thing')}")
    lines.append(f"  time       {format_duration(plan.seconds)} at {plan.rate:g} requests/s")
    return lines


def _number(absent: Mapping[MissingReason, MissingNames], absence: MissingReason) -> int:
    return absent[absence].count if absence in absent else 0


def _absent(absence: MissingReason, names: MissingNames) -> str:
    number = _count(names.count, "thing" if absence is MissingReason.NOT_FOUND else "core")
    more = names.count - len(names.examples)
    return f"{number} {discovery.MISSING_LABELS[absence]}: {', '.join(names.examples)}" + (
        f" and {more:,} more" if more else ""
    )


def _count(number: int, name: str) -> str:
    plural = "" if number == 1 or name == "protected" else "s"
    return f"{number:,} {name}{plural}"
