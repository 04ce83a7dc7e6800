"""Formats a plan as lines of text and as a JSON object."""

from __future__ import annotations

from typing import Any, Final

from asyncgg.formatting import format_count, format_counts, format_duration, format_timestamp
from asyncgg.runs import Plan
from asyncgg.runs.lookup import MISSING_LABELS
from asyncgg.runs.plan import MissingReason
from asyncgg.runs.undo_plan import DECISION_LABELS

SCHEMA: Final = "asyncgg.plan/1"

_EXCLUSION_LABELS: Final = {decision.value: label for decision, label in DECISION_LABELS.items()}


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """The plan as `asyncgg.plan/1`."""
    endpoint, lookup = plan.target, plan.lookup
    missing = lookup.missing if lookup else {}
    counts = {reason: missing[reason].count if reason in missing else 0 for reason in MissingReason}
    return {
        "schema": SCHEMA,
        "operation": plan.operation.value,
        "source": plan.source,
        "things": {
            "total": plan.things,
            "rejected": plan.rejected,
            "duplicates": plan.duplicates,
            "protected": plan.protected,
            "header_rows": plan.header_rows,
            "not_found": counts[MissingReason.NOT_FOUND],
        },
        "cores": plan.cores,
        "cores_unknown": counts[MissingReason.UNKNOWN],
        "cores_empty": counts[MissingReason.EMPTY],
        "cores_incomplete": counts[MissingReason.INCOMPLETE],
        "largest_core": plan.largest_core,
        "requests": plan.requests,
        "rate": plan.rate,
        "burst": plan.burst,
        "concurrency": plan.concurrency,
        "per_core": plan.per_core,
        "seconds": round(plan.seconds, 3),
        "region": endpoint.region if endpoint else None,
        "endpoint": endpoint.url if endpoint else None,
        "account": plan.account or None,
        "arn": plan.arn or None,
        "undoable": plan.undoable,
        "snapshot_requests": plan.snapshot_requests,
        "policy": plan.policy or None,
        "excluded": dict(plan.excluded),
        "inventory": lookup.inventory if lookup else None,
        "taken_at": format_timestamp(lookup.taken_at) if lookup else None,
        "missing": {reason.value: list(names.examples) for reason, names in missing.items()},
    }


def _format_endpoint(plan: Plan) -> list[str]:
    account = plan.account or f"unknown ({plan.account_unknown_reason})"
    if plan.account and plan.arn:
        account += f" ({plan.arn})"
    lines = [f"  account    {account}"]
    if plan.target is None:
        return [*lines, "  region     unknown (assuming the documented quota of most Regions)"]
    if plan.target.custom:
        return [*lines, f"  endpoint   {plan.target.url} (custom endpoint)"]
    return [*lines, f"  region     {plan.target.region}"]


def format_plan_time(seconds: float, rate: float) -> str:
    """The line about the time that requests take at `rate`, in requests per second."""
    duration = format_duration(seconds) if seconds >= 1 else "less than a second"
    return f"  time       {duration} at {rate:g} requests/s"


def format_plan(plan: Plan) -> list[str]:
    """The plan as lines of text."""
    things, cores = format_count(plan.things, "thing"), format_count(plan.cores, "core")
    lines = [f"plan: {plan.operation} {things} {plan.operation.preposition} {cores}", *_format_endpoint(plan)]
    lines.append(f"  {plan.source_label:<10} {plan.source}")
    excluded = [format_count(plan.rejected, "bad row")] if plan.rejected else []
    excluded += [format_count(plan.header_rows, "repeated header")] if plan.header_rows else []
    excluded += [format_count(plan.duplicates, "duplicate")] if plan.duplicates else []
    excluded += format_counts(
        (plan.protected, "protected"),
        *((number, _EXCLUSION_LABELS.get(name, name)) for name, number in plan.excluded.items()),
    )
    details = [", ".join(excluded), *map(str, plan.bad_rows)] if excluded else []
    details += format_missing(plan)
    lines += [f"  {'excluded' if number == 0 else '':<10} {text}" for number, text in enumerate(details)]
    lines.append(f"  requests   {plan.requests:,}, the largest core has {format_count(plan.largest_core, 'thing')}")
    if plan.snapshot_requests:
        lines.append(f"  snapshot   the cores are listed first: at least {plan.snapshot_requests:,} more requests")
    lines.append(format_plan_time(plan.seconds, plan.rate))
    lines.append(f"  undo       {_format_undo(plan)}")
    if plan.policy:
        lines.append(f"  policy     {plan.policy} selects these things again; a protect list is written")
    return lines


def _format_undo(plan: Plan) -> str:
    if plan.undoable:
        return "possible"
    return "only with proof of the associations: use --snapshot, or have an inventory from before the run"


def format_missing(plan: Plan) -> list[str]:
    """The requested names without associations, one line for each reason."""
    missing = plan.lookup.missing if plan.lookup else {}
    lines = [
        f"{format_count(names.count, 'thing' if reason is MissingReason.NOT_FOUND else 'core')}"
        f" {MISSING_LABELS[reason]}: {names}"
        for reason, names in missing.items()
    ]
    if not plan.things and not missing.keys().isdisjoint({MissingReason.NOT_FOUND, MissingReason.UNKNOWN}):
        lines.append("nothing was found: are account, Region and list right?")
    return lines
