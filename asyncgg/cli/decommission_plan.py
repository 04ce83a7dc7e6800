"""Shows what a decommission would do: devices, requests, time, and which quota to raise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from asyncgg.cli.context import CommandContext
from asyncgg.cli.progress import ProgressView, progress_event
from asyncgg.cli.supervisor import run_async
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import Stage
from asyncgg.decommission.progress import StageProgress
from asyncgg.decommission.quotas import (
    DEFAULT_QUOTAS,
    GET_CORE_DEVICE,
    advise,
    delete_requests,
    parse_quotas,
    plan_requests,
    quarantine_requests,
    stage_cost,
)
from asyncgg.decommission.report import summarize, unknown_connectivity
from asyncgg.formatting import format_count, format_duration, format_percent
from asyncgg.runs import quota_rate
from asyncgg.tables import Column
from asyncgg.tuning.service_quotas import applied_iot_rates

PLAN_COLUMNS: Final = {
    **dict.fromkeys(("device", "thing_id", "type", "groups", "cores", "certificates"), Column.NAME),
    "policies": Column.TEXT,
    "other_things": Column.NAME,
    "other_principals": Column.TEXT,
    "refused": Column.NAME,
    "detail": Column.TEXT,
}
_MIN_ADVISED: Final = 60.0
"""Seconds from which on a stage is worth a higher quota in the text."""


# --- quotas ---


@dataclass(frozen=True, slots=True)
class IotQuotas:
    """The quotas of all operations in requests per second, and the share of them to use."""

    rates: Mapping[str, float]
    """Of AWS IoT."""
    share: float
    core_device_rate: float
    """Of GetCoreDevice, within the share."""
    source: str
    """Where they come from."""

    @property
    def usable(self) -> dict[str, float]:
        """The rates to send at."""
        return {name: rate * self.share for name, rate in self.rates.items()} | {GET_CORE_DEVICE: self.core_device_rate}


def load_quotas(context: CommandContext, entries: tuple[str, ...], region: str) -> IotQuotas:
    """The quotas of Service Quotas where it may be asked, else the documented ones; `entries` come first."""
    applied, reason = run_async(applied_iot_rates(context.connection, DEFAULT_QUOTAS))
    source = f"documented defaults; Service Quotas: {reason}" if applied is None else "Service Quotas"
    share = context.settings.quota_share
    return IotQuotas(parse_quotas(entries, applied or {}), share, quota_rate(context.settings, region), source)


# --- the plan ---


def plan_document(book: DecommissionJournal, quotas: IotQuotas, *, reason: str = "") -> dict[str, Any]:
    """The plan as JSON; `reason` says why its questions stopped early."""
    summary = summarize(book, Stage.QUARANTINE, reason=reason)
    facts, counts, certificates = book.devices(), summary["devices"], summary["certificates"]
    allowed = counts["total"] - counts["refused"]
    costs = {
        "plan": plan_requests(counts["total"], certificates),
        "quarantine": quarantine_requests(allowed, certificates),
        "delete": delete_requests(allowed, certificates),
    }
    rates = quotas.usable
    stages = {name: stage_cost(requests, rates) for name, requests in costs.items()}
    cores = {core for device in facts.values() for core in device.cores}
    return summary | {
        "stage": "plan",
        "state": "interrupted" if reason else "planned",
        "associations": sum(len(device.cores) for device in facts.values()),
        "cores": len(cores),
        "requests": costs["quarantine"],
        "stages": {name: asdict(cost) for name, cost in stages.items()},
        "advice": {
            name: asdict(found) for name, cost in stages.items() if (found := advise(cost, rates, quotas.share))
        },
        "quotas": {"source": quotas.source, **quotas.rates},
    }


def plan_lines(document: Mapping[str, Any], quotas: IotQuotas) -> list[str]:
    """The plan as lines of text."""
    counts = document["devices"]
    allowed = counts["total"] - counts["refused"]
    lines = [f"plan: {allowed:,} of {format_count(counts['total'], 'device')} can be quarantined"]
    if document["reason"]:
        lines = [f"plan: {document['reason']}; {counts['pending']:,} devices have no answers yet"]
    lines += [f"  refused    {count:,}: {reason}" for reason, count in sorted(document["refusals"].items())]
    if document["connectivity_unknown"]:
        lines.append(f"  warning    {unknown_connectivity(document['connectivity_unknown'])}")
    lines.append(f"  identity   {format_count(document['certificates'], 'certificate')}")
    if document["cores"]:
        lines.append(
            f"  cores      {format_count(document['cores'], 'core')} with"
            f" {format_count(document['associations'], 'association')} of them"
        )
    for name, stage in document["stages"].items():
        if stage["slowest"]:
            lines.append(f"  {name:<10} {_format_cost(stage, quotas)}")
    lines += [
        f"  advice     {_format_advice(name, found)}"
        for name, found in document["advice"].items()
        if found["seconds_before"] >= _MIN_ADVISED
    ]
    lines.append(f"  quotas     {quotas.source}")
    return lines


def _format_cost(stage: Mapping[str, Any], quotas: IotQuotas) -> str:
    total = sum(stage["requests"].values())
    slowest = _by_rate({name: quotas.usable[name] for name in stage["slowest"]}, "at")
    return f"{format_count(total, 'request')}, {format_duration(stage['seconds'])}: decided by {slowest}"


def _format_advice(name: str, advice: Mapping[str, Any]) -> str:
    before, after = (format_duration(advice[key]) for key in ("seconds_before", "seconds_after"))
    return f"raise {_by_rate(advice['quotas'], 'to')}: {name} takes {after} instead of {before}"


def _by_rate(rates: Mapping[str, float], preposition: str) -> str:
    """The operations with their rates; those with the same one together."""
    grouped: dict[float, list[str]] = {}
    for name, rate in rates.items():
        grouped.setdefault(rate, []).append(name)
    return "; ".join(f"{', '.join(names)} {preposition} {rate:g}/s" for rate, names in grouped.items())


def plan_rows(book: DecommissionJournal) -> Iterator[tuple[str, ...]]:
    """A row of `PLAN_COLUMNS` per device."""
    certificates, refusals = book.certificates(), book.refusals(Stage.QUARANTINE)
    for name, device in book.devices().items():
        found = [certificates[id_] for id_ in device.certificates if id_ in certificates]
        refusal = refusals.get(name)
        yield (
            name,
            device.thing_id,
            device.thing_type,
            " ".join(device.groups),
            " ".join(device.cores),
            " ".join(f"{item.id}:{item.status}" for item in found),
            " ".join(dict.fromkeys(policy for item in found for policy in item.policies)),
            " ".join(sorted({thing for item in found for thing in item.things} - {name})),
            " ".join(device.other_principals),
            refusal.reason if refusal else "",
            refusal.detail if refusal else "",
        )


# --- progress ---


def _label(progress: StageProgress) -> str:
    percent = format_percent(progress.finished, progress.total)
    return f"{progress.finished:,}/{progress.total:,} devices {progress.activity} ({percent})"


def _details(progress: StageProgress, rate: float) -> list[str]:
    details = [f"{progress.refused:,} refused"] if progress.refused else []
    details += [f"{progress.failed:,} failed", f"{rate:.0f} requests/s"]
    if progress.throttled:
        details.append(f"{progress.throttled:,} throttled")
    if progress.seconds_left and progress.finished < progress.total:
        details.append(f"{format_duration(progress.seconds_left)} left")
    return details


STAGE_VIEW: Final = ProgressView(lambda progress: (progress.finished, progress.total), _label, _details, progress_event)
"""The view of a `StageProgress`."""
