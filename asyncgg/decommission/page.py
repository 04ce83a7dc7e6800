"""Collects what the page of a decommission shows: its devices with their steps, refusals and failures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from asyncgg import __version__
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import DeviceFacts, DeviceStep, RefusalReason, Stage
from asyncgg.decommission.report import DeviceResult, DeviceState, device_results, steps_by_subject, summarize_saved
from asyncgg.decommission.stages import ASSOCIATIONS, DEVICE
from asyncgg.formatting import format_count
from asyncgg.models import Operation, RunState
from asyncgg.report.run_report import BADGES, Verdict

_MAX_DEVICES: Final = 3_000
"""Devices on a page, those with problems first; a row takes about 600 bytes."""
_MAX_EXAMPLES: Final = 10
_DAY: Final = 86_400.0
"""Seconds from the end of the quarantine until the deletion, unless --min-age says otherwise."""
_SHORT_ID: Final = 8
_LEVELS: Final[Mapping[DeviceState, str]] = {
    "done": "good",
    "refused": "warning",
    "failed": "bad",
    "pending": "warning",
}
_ORDER: Final = ("failed", "refused", "pending", "done")

REFUSAL_TEXTS: Final[Mapping[str, str]] = {
    RefusalReason.NOT_FOUND: "AWS IoT does not have this thing. Correct the list.",
    RefusalReason.UNANSWERED: "A question to AWS had no full answer. Grant the permission it names, then plan again.",
    RefusalReason.CORE_DEVICE: "The thing is a Greengrass core device. Remove it from the list.",
    RefusalReason.PROTECTED: "The protect list names it.",
    RefusalReason.CONNECTED: "It was connected to AWS IoT Core recently: it is in use. See --connected-within.",
    RefusalReason.CONNECTIVITY: "The fleet index does not know its connectivity. See --allow-unknown-connectivity.",
    RefusalReason.PRINCIPAL: "It has a principal that is no certificate. Detach it first, if nothing needs it.",
    RefusalReason.SHARED: "Things that are not in the list use its certificate, too. Add them, or see --allow-shared.",
    RefusalReason.CLAIM: "Its certificate provisions new devices. It must stay active.",
    RefusalReason.TRANSFER: "Its certificate is being transferred to another account.",
    RefusalReason.FOREIGN: "Its certificate belongs to another account.",
    RefusalReason.STATUS: "Its certificate is neither ACTIVE nor INACTIVE, so its status could not be restored.",
    RefusalReason.RECREATED: "The thing was deleted and created again: it is another device now.",
    RefusalReason.CHANGED: "A certificate or a principal has been changed by others since. Ask who uses it.",
    RefusalReason.ASSOCIATED: "A core device has it as client device again. Ask who uses it.",
    RefusalReason.AUTO_REGISTRATION: "The CA of its certificate would register the certificate again.",
}
"""What each reason means, and what to do."""


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device in the table."""

    name: str
    state: DeviceState
    level: str
    """`good`, `warning` or `bad`: the color of the state."""
    detail: str
    """Why it was refused or failed."""
    thing_type: str
    cores: str
    certificates: str
    steps: str
    """What was done, by stage."""


@dataclass(frozen=True, slots=True)
class DeviceGroup:
    """The devices that were refused for one reason, or failed with one code."""

    label: str
    text: str
    """What the reason means; empty for a code."""
    devices: int
    examples: tuple[tuple[str, str], ...]
    """Some of the devices, and the details of each."""


@dataclass(frozen=True, slots=True)
class DecommissionPage:
    """Everything the page shows."""

    summary: Mapping[str, Any]
    """As `asyncgg.decommission/1`."""
    meta: Mapping[str, str]
    verdict: Verdict
    refusals: tuple[DeviceGroup, ...]
    failures: tuple[DeviceGroup, ...]
    devices: tuple[DeviceRow, ...]
    device_count: int
    step_counts: Mapping[str, int]
    """Finished writes by operation."""
    delete_from: float | None
    """When the devices of a finished quarantine can be deleted by default; seconds since 1970."""
    generated_at: float
    version: str = __version__


def load_decommission_page(journal: DecommissionJournal, *, generated_at: float) -> DecommissionPage:
    """Collect the page of a journal. Raises `JournalError`."""
    summary = summarize_saved(journal)
    stage = Stage.QUARANTINE if summary["stage"] == "plan" else Stage(summary["stage"])
    facts, steps, results = journal.devices(), journal.steps().values(), device_results(journal, stage)
    by_subject = steps_by_subject(steps)
    shown = sorted(results, key=lambda result: _ORDER.index(result.state))[:_MAX_DEVICES]
    is_waiting = summary["stage"] == Stage.QUARANTINE and summary["quarantined_at"]
    ended_at = datetime.fromisoformat(summary["quarantined_at"]).timestamp() if is_waiting else None
    return DecommissionPage(
        summary=summary,
        meta=journal.meta(),
        verdict=_verdict(summary),
        refusals=_groups(results, "refused"),
        failures=_groups(results, "failed"),
        devices=tuple(_row(result, facts.get(result.name), by_subject) for result in shown),
        device_count=len(results),
        step_counts=Counter(step.action.partition(" ")[0] for step in steps if step.is_done),
        delete_from=None if ended_at is None else ended_at + _DAY,
        generated_at=generated_at,
    )


def _groups(results: Iterable[DeviceResult], state: DeviceState) -> tuple[DeviceGroup, ...]:
    """The devices in a state by their cause, the largest group first."""
    by_cause: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for result in results:
        if result.state == state:
            by_cause[result.cause].append((result.name, result.detail))
    groups = (
        DeviceGroup(cause, REFUSAL_TEXTS.get(cause, ""), len(devices), tuple(devices[:_MAX_EXAMPLES]))
        for cause, devices in by_cause.items()
    )
    return tuple(sorted(groups, key=lambda group: -group.devices))


def _row(result: DeviceResult, facts: DeviceFacts | None, by_subject: Mapping[str, Sequence[DeviceStep]]) -> DeviceRow:
    certificates = facts.certificates if facts else ()
    done: defaultdict[str, list[str]] = defaultdict(list)
    for subject in (*certificates, result.name):
        for step in by_subject.get(subject, ()):
            if step.action != DEVICE:  # it has the state of the device
                done[step.stage].append(_step_text(step, "" if subject == result.name else subject))
    return DeviceRow(
        name=result.name,
        state=result.state,
        level=_LEVELS[result.state],
        detail=": ".join(filter(None, [result.cause, result.detail])),
        thing_type=facts.thing_type if facts else "",
        cores=", ".join(facts.cores) if facts else "",
        certificates=", ".join(id_[:_SHORT_ID] for id_ in certificates),
        steps="; ".join(f"{stage}: {', '.join(done[stage])}" for stage in Stage if stage in done),
    )


def _step_text(step: DeviceStep, certificate: str) -> str:
    if step.action == ASSOCIATIONS:
        operation = Operation.ASSOCIATE if step.stage == Stage.RELEASE else Operation.DISASSOCIATE
        return f"{'' if step.is_done else 'not '}{operation.past_participle}"
    action, _, subject = step.action.partition(" ")
    words = [action, (subject or certificate)[:_SHORT_ID]]
    if not step.is_done:
        words.append(f"({step.code or 'possibly sent'})")
    return " ".join(filter(None, words))


def _verdict(summary: Mapping[str, Any]) -> Verdict:
    counts, stage = summary["devices"], summary["stage"]
    is_plan = stage == "plan"
    parts = [f"{counts['refused']:,} refused" if counts["refused"] else ""]
    if is_plan:
        allowed = counts["total"] - counts["refused"]
        first = f"{allowed:,} of {format_count(counts['total'], 'device')} can be quarantined; nothing was changed"
    else:
        first = f"{stage.capitalize()}: {counts['done']:,} of {format_count(counts['total'], 'device')} done"
        parts += [f"{counts[name]:,} {name}" for name in ("failed", "pending") if counts[name]]
    reason = str(summary["reason"])
    sentence = ", ".join(filter(None, [first, *parts])) + "."
    sentence += f" {reason[:1].upper()}{reason[1:]}." if reason else ""
    if is_plan:
        level, badge = "warning", "Plan"
    elif summary["state"] == RunState.PARTIAL and not counts["failed"]:
        level, badge = "warning", "Completed, some refused"
    else:
        level, badge = BADGES[RunState(summary["state"])]
    return Verdict(level, badge, sentence)
