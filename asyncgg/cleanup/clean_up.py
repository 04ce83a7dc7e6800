"""Rule: one night from its beginning to its end: sweep, decide, guard, send. Each step is somebody else's.

The order is the safety: nothing is sent before the view is complete enough, everything is decided, and the guards have
counted it. What one step leaves behind is in the night's folder, so that the next start can go on with it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from heapq import nlargest
from typing import Final

from asyncgg.cleanup.beginning import guarded
from asyncgg.cleanup.choosing import choose
from asyncgg.cleanup.left_over import left_over, refuse_while_running
from asyncgg.cleanup.means import Means, filters_of
from asyncgg.cleanup.nights import Night, Nights
from asyncgg.cleanup.outcome import NightReport
from asyncgg.cleanup.policy import Policy
from asyncgg.cleanup.questions import Questions, Registry
from asyncgg.cleanup.reins import Reins, StoppedError, Work
from asyncgg.cleanup.sending import send, summary_of
from asyncgg.cleanup.tally import Tally
from asyncgg.engine import RunResult, StopReason
from asyncgg.errors import AsyncggError, GuardError, SnapshotError
from asyncgg.events import Listener
from asyncgg.inventory import CoreState, ScanResult, Snapshot
from asyncgg.model import RunState
from asyncgg.runs import JournalBuilder
from asyncgg.runs.evidence import ProvenanceKind, provenance_to_meta
from asyncgg.runs.execute import connection_from_settings
from asyncgg.runs.sweeping import FullTransport
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, Endpoint

__all__ = ["CleanUp"]

_CORES_ASKED_FOR: Final = 10
"""Core devices that the registry is asked for, until it has one. [service model: coreDeviceThingName, "also the name of
the IoT thing"]"""


class CleanUp:
    """One start of a policy, which should be `stricter`; made within a running loop. One object, one start.

    `lists`: the policy's `not-in` lists, read. `digest`: of everything that decides what goes; a run that was decided
    by something else is not gone on with. `transport`, `registry`: instead of those made from the settings. `on_work`,
    `on_step`, `on_warning`: told what is going on.
    """

    def __init__(
        self,
        policy: Policy,
        settings: Settings,
        target: Endpoint,
        *,
        digest: str,
        lists: Mapping[str, frozenset[str]],
        account: CallerIdentity | None = None,
        transport: FullTransport | None = None,
        registry: Registry | None = None,
        listeners: Sequence[Listener] = (),
        on_work: Callable[[Work], None] = lambda work: None,
        on_step: Callable[[str], None] = lambda words: None,
        on_warning: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._policy = policy
        self._digest = digest
        self._lists = lists
        self._registry = registry
        self._on_warning = on_warning
        self._reins = Reins(policy.guards.deadline, on_work)
        settings = guarded(settings, policy)
        self._means = Means(settings, target, account, self._reins, listeners, on_step, transport)
        self.report = NightReport(policy.name)

    def stop(self, reason: str) -> None:
        """Begin nothing new and let what is in flight end; resumable."""
        self._reins.stop(StopReason(RunState.INTERRUPTED, reason))

    async def run(self, *, dry_run: bool = False) -> NightReport:
        """Do it; also what went wrong is in the report. Nothing but a fault of ours or a cancellation is raised."""
        report = self.report
        report.dry_run = dry_run
        try:
            nights = Nights(self._policy.folder, self._policy.state.keep)
            with nights.alone():
                await self._reported(nights, dry_run)
        except AsyncggError as error:
            report.fail(error)
        return report

    # --- the steps ---

    async def _reported(self, nights: Nights, dry_run: bool) -> None:
        report = self.report
        try:
            await self._night(nights, dry_run)
            report.admit_doubt()
        except StoppedError as stopped:
            report.end(RunResult(stopped.stop.state, stopped.stop.message, stopped.stop.is_auth_error))
        except AsyncggError as error:
            report.fail(error)
        if not dry_run:
            report.removed = nights.rotate(report.night)
        if report.night is not None:
            self._write(report.night, report)

    async def _night(self, nights: Nights, dry_run: bool) -> None:
        adopted = None
        last = None if dry_run else nights.last()
        if last is not None:
            refuse_while_running(last)
        if last is not None and self._policy.state.resume_unfinished:
            left = left_over(last, self._digest, self._means.origin, filters_of(self._policy), time.time())
            if left.why_not:
                self._warn(f"{last.name} is not gone on with: {left.why_not}")
            if left.run and not await self._went_on(last):
                return
            adopted = last if left.sweep else None
        if adopted is not None:
            try:
                await self._sweep(adopted)
            except SnapshotError as error:
                self._warn(f"the sweep of {adopted.name} is not gone on with: {error}")
                adopted = None
        night = adopted or (nights.rehearse() if dry_run else nights.begin(time.time()))
        if adopted is None:
            await self._sweep(night)
        if self._view_is_complete(night):
            await self._decide_and_send(night, dry_run)

    async def _went_on(self, night: Night) -> bool:
        """Finish an earlier night's run; whether it came to its end."""
        self._means.on_step(f"going on with the run of {night.name}")
        report = self.report
        report.resumed = resumed = NightReport(self._policy.name, night)
        await self._send(night, resumed)
        self._write(night, resumed)
        if resumed.exit in {0, 3}:
            return True
        report.state, report.exit = resumed.state, resumed.exit
        report.reason = f"the run of {night.name} did not come to its end: {resumed.reason}"
        return False

    async def _sweep(self, night: Night) -> None:
        self.report.night = night
        if night.snapshot.exists():
            with Snapshot(night.snapshot) as snapshot:
                if snapshot.finished:
                    self.report.swept = _as_swept(snapshot)
                    return
            self._means.on_step(f"going on with the sweep of {night.name}")
        self.report.swept = await self._means.sweep(night.snapshot, filters=filters_of(self._policy))

    def _view_is_complete(self, night: Night) -> bool:
        swept = self.report.swept
        assert swept is not None
        if not swept.finished:
            self.report.end(RunResult(swept.state, f"the sweep: {swept.reason}", swept.is_auth_error))
            return False
        share, allowed = swept.failed_share, self._policy.guards.max_failed_share
        if share > allowed:
            raise GuardError(
                f"{share:.1%} of the cores could not be listed, max-failed-share allows {allowed:.1%}: an"
                " incomplete view is no small fleet; nothing was sent"
            )
        if share:
            lacking = swept.counts.denied + swept.counts.failed
            self._warn(f"{lacking:,} of {swept.counts.cores:,} cores could not be listed; what they hold stays")
        return True

    async def _decide_and_send(self, night: Night, dry_run: bool) -> None:
        report = self.report
        night.begin_deciding()
        with Snapshot(night.snapshot) as snapshot:
            self._means.on_step(f"deciding about {snapshot.counts().associations:,} associations")
            preparation = self._preparation(night, snapshot)
            try:
                report.tally = tally = await self._decided(night, snapshot, preparation)
                if reasons := list(tally.refusals(self._policy.guards)):
                    raise GuardError(f"{'; '.join(reasons)}; nothing was sent")
            except BaseException:
                preparation.discard()
                raise
        if dry_run or not tally.selected:
            preparation.discard()
            report.state = RunState.PLANNED if dry_run else RunState.COMPLETE
            report.exit = 0
            report.reason = "nothing was sent" if dry_run else "nothing is selected"
            return
        preparation.finish(self._means.target)
        night.end_deciding()
        await self._send(night, report)

    def _preparation(self, night: Night, snapshot: Snapshot) -> JournalBuilder:
        facts = {
            "policy": self._digest,
            "policy_name": self._policy.name,
            "account": self._means.origin.account,
            **provenance_to_meta(ProvenanceKind.LISTING, night.snapshot, snapshot.started_at),
        }
        return JournalBuilder(night.draft, self._means.settings, source=f"policy {self._policy.name}", extra_meta=facts)

    async def _decided(self, night: Night, snapshot: Snapshot, preparation: JournalBuilder) -> Tally:
        policy = self._policy
        async with AsyncExitStack() as stack:
            registry = self._registry
            if policy.asks and registry is None:
                from asyncgg.cleanup.iot_open import open_registry

                opening = open_registry(connection_from_settings(self._means.settings), policy.iot)
                registry = await stack.enter_async_context(opening)
            concurrency = policy.iot.concurrency
            questions = Questions(registry, lists=self._lists, concurrency=concurrency, on_warning=self._warn)
            try:
                return await self._reins.within(self._checked(night, snapshot, preparation, questions))
            finally:
                self.report.asked = questions.statistics()

    async def _checked(
        self, night: Night, snapshot: Snapshot, preparation: JournalBuilder, questions: Questions
    ) -> Tally:
        tally = await choose(self._policy, snapshot, questions, time.time(), preparation, night)
        # Many missing things may be all there is to ask for. Their core devices, things as well, tell whose registry
        # it is that lacks them.
        if tally.selected and questions.statistics().missing:
            cores = _lately_seen(snapshot)
            if not await questions.confirms_one_of(cores):
                raise GuardError(
                    f"AWS IoT does not have one of the core devices {', '.join(cores)}, which are things as well: is it"
                    " the registry of another account or Region? nothing was sent"
                )
        return tally

    async def _send(self, night: Night, report: NightReport) -> None:
        """Send the night's run; how that ended, even if it broke off, goes into `report`."""
        try:
            sent = await send(night, self._policy.guards, self._means)
        except AsyncggError as error:
            report.fail(error)
            with contextlib.suppress(AsyncggError):  # what has gone has gone, and should be told
                report.summary = summary_of(night)
        else:
            report.end(sent.result)
            report.summary, report.canary = sent.summary, sent.canary

    def _write(self, night: Night, report: NightReport) -> None:
        """Put the report into its folder; a run that was gone on with keeps what was told of its sweep."""
        document = report.document()
        if report is self.report.resumed:
            before = night.told()
            document = {name: before.get(name) if value is None else value for name, value in document.items()}
        try:
            night.write_report(document)
        except AsyncggError as error:
            self._warn(str(error))
            if report.exit == 0:
                report.exit, report.reason = error.exit_code, str(error)

    def _warn(self, words: str) -> None:
        self.report.warnings.append(words)
        self._on_warning(words)


def _lately_seen(snapshot: Snapshot) -> list[str]:
    """The core devices that said something last."""
    listed = (core.device for core in snapshot.cores() if core.state is CoreState.DONE)
    return [core.name for core in nlargest(_CORES_ASKED_FOR, listed, key=lambda core: core.last_status_at or 0.0)]


def _as_swept(snapshot: Snapshot) -> ScanResult:
    """What a sweep came to that an earlier start has finished; its requests are not of this one."""
    counts = snapshot.counts()
    lacking = counts.denied + counts.failed
    state, reason = (RunState.PARTIAL, "some cores could not be listed") if lacking else (RunState.COMPLETE, "")
    return ScanResult(snapshot.path, state, reason, False, counts, 0, 0, 0, 0, 0.0)
