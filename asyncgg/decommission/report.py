"""What became of each device of a decommission: counts for JSON, and rows of steps."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from asyncgg.decommission.delete import DELETE_CERTIFICATE
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import DeviceFacts, DeviceStep, Stage, Steps
from asyncgg.decommission.shadows import DELETE, SAVE
from asyncgg.decommission.stages import ASSOCIATIONS, DEVICE
from asyncgg.formatting import format_count, format_timestamp
from asyncgg.models import RunState
from asyncgg.report import EXIT_CODES
from asyncgg.report.summary import format_commands
from asyncgg.storage import is_locked

SCHEMA: Final = "asyncgg.decommission/1"
Devices = Mapping[str, DeviceFacts]
DeviceState = Literal["done", "refused", "failed", "pending"]
_STATE_LABELS: Final = {"partial": "completed, but not for all devices", "deadline": "stopped"}
OUTCOME_COLUMNS: Final = ("device", "stage", "subject", "step", "state", "code", "message", "request_id")


def devices_of_stage(journal: DecommissionJournal, stage: Stage) -> list[str]:
    """The devices that a stage concerns: all for the quarantine, later those that it changed.

    A device with a step of the deletion cannot be released.
    """
    names = journal.names()
    if stage is Stage.QUARANTINE:
        return names
    steps, facts = journal.steps(), journal.devices()
    if stage is Stage.DELETE:
        return [name for name in names if _is_done(steps, Stage.QUARANTINE, name)]
    deleted = {subject for step_stage, subject, _ in steps if step_stage == Stage.DELETE}
    return [
        name
        for name in names
        if name not in deleted
        and (
            (Stage.QUARANTINE, name, DEVICE) in steps
            or any((Stage.QUARANTINE, id_, "UpdateCertificate") in steps for id_ in _certificates(facts, name))
        )
    ]


@dataclass(frozen=True, slots=True)
class DeviceResult:
    """What a stage has done with one of its devices."""

    name: str
    state: DeviceState
    cause: str = ""
    """The reason of the refusal, or the code of the failure."""
    detail: str = ""


def device_results(journal: DecommissionJournal, stage: Stage) -> list[DeviceResult]:
    """What a stage has done with each of its devices."""
    steps, refusals = journal.steps(), journal.refusals(stage)

    def result(name: str) -> DeviceResult:
        if _is_done(steps, stage, name):
            return DeviceResult(name, "done")
        if refusal := refusals.get(name):
            return DeviceResult(name, "refused", str(refusal.reason), refusal.detail)
        for action in (DEVICE, ASSOCIATIONS):
            if (step := steps.get((stage, name, action))) and step.code:
                return DeviceResult(name, "failed", step.code, step.message)
        return DeviceResult(name, "pending")

    return [result(name) for name in devices_of_stage(journal, stage)]


def summarize(journal: DecommissionJournal, stage: Stage, *, reason: str = "", state: str = "") -> dict[str, Any]:
    """The result as JSON. `reason` and `state`: why the stage stopped early, and how; empty if it did not."""
    results, facts, meta, steps = device_results(journal, stage), journal.devices(), journal.meta(), journal.steps()
    counted = Counter(result.state for result in results)
    causes = Counter((result.state, result.cause) for result in results)
    counts = {"total": len(results), **{key: counted[key] for key in get_args(DeviceState)}}
    if counts["pending"]:
        state = state or RunState.INTERRUPTED
    elif state in ("", RunState.INTERRUPTED, RunState.DEADLINE, RunState.RUNNING):  # stopped at the end
        reason = ""
        state = RunState.PARTIAL if counts["refused"] or counts["failed"] else RunState.COMPLETE
    written = Counter(step.action.partition(" ")[0] for step in steps.values() if step.is_done)
    return {
        "schema": SCHEMA,
        "journal": str(journal.path),
        "account": meta.get("account", ""),
        "region": meta.get("region", ""),
        "stage": str(stage),
        "state": str(state),
        "reason": reason,
        "devices": counts,
        "refusals": {cause: count for (result, cause), count in causes.items() if result == "refused"},
        "failures": {cause: count for (result, cause), count in causes.items() if result == "failed"},
        "certificates": len(journal.certificates()),
        "certificates_left": _certificates_left(facts, steps, results) if stage is Stage.DELETE else 0,
        "connectivity_unknown": sum(not device.connectivity_known for device in facts.values()),
        "shadows": {"saved": written[SAVE], "deleted": written[DELETE]},
        "quarantined_at": format_timestamp(float(meta["quarantined_at"])) if "quarantined_at" in meta else None,
        "next": _next_commands(stage, str(state), counts, shlex.quote(str(journal.path))),
    }


def summarize_saved(journal: DecommissionJournal) -> dict[str, Any]:
    """The result of the last stage of a journal that is opened for reading, also while it runs."""
    meta = journal.meta()
    summary = summarize(journal, Stage(meta["stage"]), state=RunState.RUNNING if is_locked(journal.path) else "")
    return summary | {"stage": "plan", "state": "planned", "next": []} if meta.get("is_plan") == "1" else summary


def needs_resume(counts: Mapping[str, int]) -> bool:
    """Whether resume has something to do, by the `devices` of a summary."""
    return bool(counts["pending"] or counts["failed"])


def exit_code_of(summary: dict[str, Any]) -> int:
    """The exit code of a result."""
    return EXIT_CODES[RunState(summary["state"])]


def _next_commands(stage: Stage, state: str, counts: dict[str, int], path: str) -> list[str]:
    """The commands that can follow."""
    if state == RunState.RUNNING:
        return []
    commands = [f"asyncgg decommission report {path} --outcomes steps.csv"] if state != RunState.COMPLETE else []
    if needs_resume(counts):
        commands.append(f"asyncgg decommission resume {path}")
    if stage is Stage.QUARANTINE and counts["done"]:
        commands.append(f"asyncgg decommission release {path}")
        if not needs_resume(counts):
            commands.append(f"asyncgg decommission delete {path}")
    return commands


def steps_by_subject(steps: Iterable[DeviceStep]) -> Mapping[str, Sequence[DeviceStep]]:
    """The steps of each thing and certificate."""
    found: defaultdict[str, list[DeviceStep]] = defaultdict(list)
    for step in steps:
        found[step.subject].append(step)
    return found


def outcome_rows(journal: DecommissionJournal) -> Iterator[tuple[str, ...]]:
    """A row per device and step, and one per refused device and stage."""
    steps, facts = journal.steps(), journal.devices()
    refusals = {stage: journal.refusals(stage) for stage in Stage}
    by_subject = steps_by_subject(steps.values())
    for name in journal.names():
        for subject in (name, *_certificates(facts, name)):
            for step in by_subject.get(subject, []):
                outcome = (str(step.state), step.code, step.message, step.request_id)
                yield (name, step.stage, subject, step.action, *outcome)
        for stage, refused in refusals.items():
            if name in refused:
                refusal = refused[name]
                yield name, str(stage), name, "refused", "refused", str(refusal.reason), refusal.detail, ""


def format_summary_lines(summary: dict[str, Any]) -> list[str]:
    """The result as lines of text."""
    counts = summary["devices"]
    state = _STATE_LABELS.get(summary["state"], summary["state"])
    lines = [f"{summary['stage']}: {state}{': ' + summary['reason'] if summary['reason'] else ''}"]
    lines.append("  devices    " + ", ".join(f"{count:,} {key}" for key, count in counts.items()))
    lines += [f"  refused    {count:,}: {reason}" for reason, count in sorted(summary["refusals"].items())]
    lines += [f"  failed     {count:,}: {code}" for code, count in sorted(summary["failures"].items())]
    if summary["connectivity_unknown"]:
        lines.append(f"  warning    {unknown_connectivity(summary['connectivity_unknown'])}")
    if summary["certificates_left"]:
        lines.append(f"  left       {format_count(summary['certificates_left'], 'inactive certificate')}")
    if saved := summary["shadows"]["saved"]:
        lines.append(f"  shadows    {saved:,} saved, {summary['shadows']['deleted']:,} deleted")
    if summary["stage"] == Stage.QUARANTINE and summary["quarantined_at"]:
        lines.append(f"  ended      {summary['quarantined_at']}; can be deleted 24 h later, or after --min-age")
    lines.append(f"  journal    {summary['journal']}")
    return lines + format_commands(summary["next"])


def _is_done(steps: Steps, stage: Stage, name: str) -> bool:
    actions = (DEVICE,) if stage is Stage.DELETE else (DEVICE, ASSOCIATIONS)
    return all(steps.is_done(stage, name, action) for action in actions)


def _certificates_left(facts: Devices, steps: Steps, results: Iterable[DeviceResult]) -> int:
    """How many certificates of deleted things were not deleted; they are inactive."""
    left = {id_ for result in results if result.state == "done" for id_ in _certificates(facts, result.name)}
    return sum(not steps.is_done(Stage.DELETE, id_, DELETE_CERTIFICATE) for id_ in left)


def _certificates(facts: Devices, name: str) -> tuple[str, ...]:
    return facts[name].certificates if name in facts else ()


def unknown_connectivity(count: int) -> str:
    """The warning about devices that the fleet index does not have, and what to do."""
    devices = format_count(count, "device")
    return f"connectivity is unknown for {devices}; see --connected-within and --allow-unknown-connectivity"
