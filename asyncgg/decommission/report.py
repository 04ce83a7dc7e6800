"""What became of each device of a decommission: counts for JSON, and rows of steps."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, get_args

from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import Stage, StepState
from asyncgg.decommission.shadows import DELETE, SAVE
from asyncgg.decommission.stages import ASSOCIATIONS, DEVICE
from asyncgg.formatting import format_count, format_timestamp
from asyncgg.models import RunState
from asyncgg.report import EXIT_CODES
from asyncgg.report.summary import format_commands
from asyncgg.storage import is_locked

SCHEMA: Final = "asyncgg.decommission/1"
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


def device_states(journal: DecommissionJournal, stage: Stage) -> dict[str, DeviceState]:
    """What a stage has done with each of its devices."""
    steps, refusals = journal.steps(), journal.refusals(stage)

    def state(name: str) -> DeviceState:
        if _is_done(steps, stage, name):
            return "done"
        if name in refusals:
            return "refused"
        return "failed" if _failure(steps, stage, name) else "pending"

    return {name: state(name) for name in devices_of_stage(journal, stage)}


def summarize(journal: DecommissionJournal, stage: Stage, *, reason: str = "", state: str = "") -> dict[str, Any]:
    """The result as JSON. `reason` and `state`: why the stage stopped early, and how; empty if it did not."""
    steps, refusals, states = journal.steps(), journal.refusals(stage), device_states(journal, stage)
    refused = {name for name, state in states.items() if state == "refused"}
    failed = {name for name, state in states.items() if state == "failed"}
    counted = Counter(states.values())
    counts = {"total": len(states), **{key: counted[key] for key in get_args(DeviceState)}}
    if counts["pending"]:
        state = state or RunState.INTERRUPTED
    elif state in ("", RunState.INTERRUPTED, RunState.DEADLINE, RunState.RUNNING):  # stopped at the end
        reason = ""
        state = RunState.PARTIAL if refused or failed else RunState.COMPLETE
    failures = Counter(_failure(steps, stage, name) for name in failed)
    meta = journal.meta()
    written = Counter(step.action.partition(" ")[0] for step in steps.values() if step.state is StepState.DONE)
    return {
        "schema": SCHEMA,
        "journal": str(journal.path),
        "account": meta.get("account", ""),
        "region": meta.get("region", ""),
        "stage": str(stage),
        "state": str(state),
        "reason": reason,
        "devices": counts,
        "refusals": dict(Counter(str(refusals[name].reason) for name in sorted(refused))),
        "failures": dict(failures),
        "certificates": len(journal.certificates()),
        "certificates_left": len(_certificates_left(journal, steps, states)) if stage is Stage.DELETE else 0,
        "connectivity_unknown": sum(not facts.connectivity_known for facts in journal.devices().values()),
        "shadows": {"saved": written[SAVE], "deleted": written[DELETE]},
        "quarantined_at": format_timestamp(float(meta["quarantined_at"])) if "quarantined_at" in meta else None,
        "next": _next_commands(stage, str(state), counts, shlex.quote(str(journal.path))),
    }


def summarize_saved(journal: DecommissionJournal) -> dict[str, Any]:
    """The result of the last stage of a journal that is opened for reading, also while it runs."""
    meta = journal.meta()
    summary = summarize(journal, Stage(meta["stage"]), state=RunState.RUNNING if is_locked(journal.path) else "")
    return summary | {"stage": "plan", "state": "planned", "next": []} if meta.get("is_plan") == "1" else summary


def exit_code_of(summary: dict[str, Any]) -> int:
    """The exit code of a result."""
    return EXIT_CODES[RunState(summary["state"])]


def _next_commands(stage: Stage, state: str, counts: dict[str, int], path: str) -> list[str]:
    """The commands that can follow."""
    commands = [f"asyncgg decommission report {path} --outcomes steps.csv"] if state != RunState.COMPLETE else []
    if counts["pending"] or counts["failed"]:
        commands.append(f"asyncgg decommission resume {path}")
    if stage is Stage.QUARANTINE and counts["done"]:
        commands.append(f"asyncgg decommission release {path}")
        if not (counts["pending"] or counts["failed"]):
            commands.append(f"asyncgg decommission delete {path}")
    return commands


def outcome_rows(journal: DecommissionJournal) -> Iterator[tuple[str, ...]]:
    """A row per device and step, and one per refused device and stage."""
    steps, facts = journal.steps(), journal.devices()
    refusals = {stage: journal.refusals(stage) for stage in Stage}
    by_subject: dict[str, list[Any]] = {}
    for step in steps.values():
        by_subject.setdefault(step.subject, []).append(step)
    for name in journal.names():
        for subject in (name, *_certificates(facts, name)):
            for step in by_subject.get(subject, []):
                yield (
                    name,
                    step.stage,
                    subject,
                    step.action,
                    str(step.state),
                    step.code,
                    step.message,
                    step.request_id,
                )
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


def _is_done(steps: Any, stage: Stage, name: str) -> bool:
    actions = (DEVICE,) if stage is Stage.DELETE else (DEVICE, ASSOCIATIONS)
    return all((step := steps.get((stage, name, action))) and step.state is StepState.DONE for action in actions)


def _failure(steps: Any, stage: Stage, name: str) -> str:
    found = (steps.get((stage, name, action)) for action in (DEVICE, ASSOCIATIONS))
    return next((step.code for step in found if step is not None and step.code), "")


def _certificates_left(journal: DecommissionJournal, steps: Any, states: Mapping[str, DeviceState]) -> set[str]:
    """The certificates of deleted things that were not deleted; they are inactive."""
    facts = journal.devices()
    left = {id_ for name, state in states.items() if state == "done" for id_ in _certificates(facts, name)}
    deleted = {
        subject
        for (_, subject, action), step in steps.items()
        if action == "DeleteCertificate" and step.state is StepState.DONE
    }
    return left - deleted


def _certificates(facts: Any, name: str) -> tuple[str, ...]:
    return facts[name].certificates if name in facts else ()


def unknown_connectivity(count: int) -> str:
    """The warning about devices that the fleet index does not have, and what to do."""
    devices = format_count(count, "device")
    return f"connectivity is unknown for {devices}; see --connected-within and --allow-unknown-connectivity"
