"""Changes the associations of quarantined and released devices through the engine."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from asyncgg.cli.context import CommandContext
from asyncgg.cli.restart import Restart
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.sources import LookupArguments, LookupSource, ScanIncompleteError
from asyncgg.cli.supervisor import StoppedTwiceError, run_async
from asyncgg.cli.workflow import RunRequest, plan_confirm_run
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import DeviceStep, Stage, StepState
from asyncgg.decommission.report import devices_of_stage
from asyncgg.decommission.stages import ASSOCIATIONS, DEVICE
from asyncgg.engine import RunResult
from asyncgg.errors import AsyncggError, JournalError
from asyncgg.inventory import Snapshot
from asyncgg.journal import JournalReader, iter_effects
from asyncgg.manifest.name_lists import Selection
from asyncgg.models import RunState, Summary, ThingState
from asyncgg.report import EXIT_CODES
from asyncgg.runs import JournalBuilder, Plan, RunMode
from asyncgg.runs.undo_plan import UndoDecision, decide, prepare_undo
from asyncgg.storage import remove_file
from asyncgg.transport import Endpoint


class AssociationChanger:
    """Disassociates the devices of a stage, or associates them again, in journals next to `book`."""

    def __init__(
        self, context: CommandContext, arguments: Mapping[str, Any], book: DecommissionJournal, stage: Stage
    ) -> None:
        self._context, self._arguments = context, arguments
        self._book, self._stage = book, stage
        self._stopped: RunResult | None = None
        self._skipped: set[str] = set()

    def run(self) -> RunResult | None:
        """Change the associations of all devices whose certificates were switched.

        How the first scan or run that stopped early ended, after which no other begins; else None.
        """
        try:
            return self._run()
        except StoppedTwiceError:
            raise
        except ScanIncompleteError as error:
            return stopped_scan(error)
        except KeyboardInterrupt:
            return RunResult(RunState.INTERRUPTED, "stopped before the associations were changed")
        except AsyncggError as error:
            # Of the inner run; this stage has changed certificates.
            error.__notes__ = [f"the certificates are changed; continue with: decommission resume {self._book.path}"]
            raise

    def _run(self) -> RunResult | None:
        book, stage = self._book, self._stage
        change = self._restore if stage is Stage.RELEASE else self._disassociate
        steps = book.steps()
        intents: dict[str, list[str]] = {}
        fresh: list[str] = []
        for name in devices_of_stage(book, stage):
            if not steps.is_done(stage, name, DEVICE) or steps.is_done(stage, name, ASSOCIATIONS):
                continue
            if step := steps.get((stage, name, ASSOCIATIONS)):
                intents.setdefault(step.detail, []).append(name)
            else:
                fresh.append(name)
        if fresh:
            number = len({step.detail for step in steps.values() if step.action == ASSOCIATIONS and step.detail}) + 1
            intents[f"{book.path.name}.{stage}-{number}"] = fresh
        for file_name, names in intents.items():
            self._record(dict.fromkeys(names, ""), StepState.INTENT, file_name)
            path = book.path.with_name(file_name)
            failures: dict[str, str] = {}
            journals = change(path, names)
            for journal in journals:
                failures |= _failed_things(journal)
            failures |= dict.fromkeys(self._skipped, "")
            self._record({name: "" for name in names if name not in failures}, StepState.DONE, file_name)
            self._record(failures, StepState.INTENT, file_name)
            if self._stopped is not None:
                return self._stopped
        return None

    def _record(self, codes: Mapping[str, str], state: StepState, file_name: str) -> None:
        """Record the same step of all these things, each with its error code or none."""
        steps = (
            DeviceStep(self._stage, name, ASSOCIATIONS, state, code, detail=file_name) for name, code in codes.items()
        )
        run_async(self._book.record(*steps))

    def _continue(self, path: Path) -> None:
        with JournalReader(path) as reader:
            counts = reader.summary()
        if counts.pending or counts.failed:
            mode = RunMode.RESUME if counts.pending else RunMode.RETRY
            self._note(Restart.load(path, mode, {**self._arguments, "yes": True}).run(yes=True))

    def _note(self, outcome: tuple[RunResult, Summary] | None) -> None:
        """Remember the result of a run that stopped early."""
        if outcome is not None and outcome[0].state not in (RunState.COMPLETE, RunState.PARTIAL):
            self._stopped = self._stopped or outcome[0]

    def _disassociate(self, path: Path, names: list[str]) -> list[Path]:
        if path.exists():
            self._continue(path)
            return [path]
        context = _inner_context(self._context, journal=path)
        inventory = path.with_name(f"{path.name}.db")
        remove_file(inventory)  # of an earlier start: the devices may have other associations now
        lookup = LookupArguments(names=tuple(names), inventory=inventory)
        source = LookupSource(lookup, context, account_required=True)
        request = RunRequest(
            resolve_endpoint=context.resolve_endpoint,
            prepare=source.prepare,
            journal=path,
            yes=True,
            recorded_account=self._book.meta()["account"],
        )
        self._note(plan_confirm_run(request, context))
        return [path]

    def _restore(self, path: Path, names: list[str]) -> list[Path]:
        book, context = self._book, _inner_context(self._context)
        steps = book.steps()
        journals: list[Path] = []
        by_file: dict[str, list[str]] = {}
        for name in names:
            if step := steps.get((Stage.QUARANTINE, name, ASSOCIATIONS)):
                by_file.setdefault(step.detail, []).append(name)
        for number, (file_name, group) in enumerate(by_file.items()):
            if self._stopped is not None:
                self._skipped |= set(group)
                continue
            original = book.path.with_name(file_name)
            associated = _changed_things(original) & set(group)
            undo_path = path if number == 0 else path.with_name(f"{path.name}.{number}")
            if not associated:
                continue
            journals.append(undo_path)
            if undo_path.exists():
                self._continue(undo_path)
                continue
            self._note(plan_confirm_run(self._undo_request(original, undo_path, associated), context))
        return journals

    def _undo_request(self, original: Path, journal: Path, names: set[str]) -> RunRequest:
        context = _inner_context(self._context)

        def prepare(endpoint: Endpoint, path: Path | None) -> tuple[JournalBuilder, Plan]:
            selection = Selection("the released devices", names)
            return prepare_undo(original, path, context.settings, endpoint, only=selection, revert_uncertain=True)

        return RunRequest(
            resolve_endpoint=context.resolve_endpoint,
            prepare=prepare,
            journal=journal,
            yes=True,
            recorded_account=self._book.meta()["account"],
        )


def require_associations(book: DecommissionJournal, names: Sequence[str]) -> None:
    """Raise `JournalError` if a journal with the associations of these devices is missing."""
    steps = book.steps()
    found = (steps.get((Stage.QUARANTINE, name, ASSOCIATIONS)) for name in names)
    for file_name in dict.fromkeys(step.detail for step in found if step and step.is_done):
        path = book.path.with_name(file_name)
        if not path.exists():
            raise JournalError(
                f"{path}: no such file; it has the associations to restore, move it back next to {book.path}"
            )


def stopped_scan(error: ScanIncompleteError) -> RunResult:
    """The end of a stage whose scan stopped early."""
    states = {code: state for state, code in EXIT_CODES.items() if state in (RunState.DEADLINE, RunState.INTERRUPTED)}
    reason = "the scan for associations did not complete"
    return RunResult(states.get(error.exit_code, RunState.ABORTED), reason, is_auth_error=error.exit_code == 5)


def find_associations(context: CommandContext, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The cores that hold each of the things, by a new scan of the Region."""
    if not names:
        return {}
    with tempfile.TemporaryDirectory(prefix="asyncgg-decommission-") as folder, raise_on_signal():
        path = Path(folder) / "scan.journal"
        context = _inner_context(context, journal=path)
        source = LookupSource(LookupArguments(names=tuple(names)), context, account_required=True)
        try:
            builder, _ = source.prepare(context.resolve_endpoint(), path)
        except ScanIncompleteError as error:
            raise ScanIncompleteError("the scan for associations did not complete", error.exit_code) from None
        builder.discard()
        with Snapshot(source.inventory) as snapshot:
            return {thing: tuple(pair.core for pair in pairs) for thing, pairs in snapshot.find_things(names).items()}


def _inner_context(context: CommandContext, *, journal: Path | None = None) -> CommandContext:
    """The context of a run within a stage: the limits on devices do not apply to associations."""
    changes = {"max_things": None, "protect": None, "abort_at": None, "journal": journal}
    return replace(context, settings=context.settings.model_copy(update=changes))


def _failed_things(path: Path) -> dict[str, str]:
    """The things of a run that are not in the desired state, with the code; none without a journal."""
    if not path.exists():
        return {}
    unfinished = (ThingState.FAILED, ThingState.PENDING, ThingState.CLAIMED)
    with JournalReader(path) as reader:
        return {row.thing: row.code for row in reader.outcomes(*unfinished)}


def _changed_things(path: Path) -> set[str]:
    """The things that a run disassociated, or did possibly; none without a journal."""
    if not path.exists():
        return set()
    with JournalReader(path) as reader:
        return {
            effect.thing
            for effect in iter_effects(reader)
            if decide(effect.certainty, prior_state_known=True, revert_uncertain=True) is UndoDecision.REVERT
        }
