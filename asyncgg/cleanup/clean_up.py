"""Rule: one night from its beginning to its end: sweep, decide, guard, canary, run. Each step is somebody else's.

The order is the safety: nothing is sent before the view is complete enough, everything is decided, and the guards have
counted it. What one step leaves behind is in the night's folder, so that the next start can go on with it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final

from asyncgg.cleanup.canary import has_passed, note_failed, note_passed, still_listed
from asyncgg.cleanup.choosing import choose
from asyncgg.cleanup.nights import Night, Nights
from asyncgg.cleanup.outcome import Canary, NightReport
from asyncgg.cleanup.policy import Policy
from asyncgg.cleanup.questions import Questions
from asyncgg.cleanup.reins import Reins, StoppedError, Work
from asyncgg.cleanup.tally import Tally
from asyncgg.engine import Result, Stop
from asyncgg.errors import AsyncggError, GuardError, SnapshotError
from asyncgg.events import Listener
from asyncgg.inventory import Snapshot
from asyncgg.journal import JournalReader
from asyncgg.model import RunState, Summary
from asyncgg.ratelimit import RampPlan
from asyncgg.runs import Preparation, execute, exit_code
from asyncgg.runs.evidence import EvidenceKind, evidence_fact
from asyncgg.runs.execute import connection_of
from asyncgg.runs.sweeping import take_inventory
from asyncgg.settings import Settings
from asyncgg.transport import CoreFilter, Identity, Target

__all__ = ["CleanUp"]

_FRESH: Final = 86_400.0
"""Seconds for which a killed night's sweep may still be gone on with."""


class CleanUp:
    """One start of a policy. `settings` are those of the command line; the policy's guards overrule them.

    `lists`: the policy's `not-in` lists, read. `digest`: of everything that decides what goes; a run that was decided
    by something else is not gone on with. `on_work`, `on_step`, `on_warning`: told what is going on. One object, one
    start.
    """

    def __init__(
        self,
        policy: Policy,
        settings: Settings,
        target: Target,
        *,
        digest: str,
        lists: Mapping[str, frozenset[str]],
        account: Identity | None = None,
        listeners: Sequence[Listener] = (),
        on_work: Callable[[Work], None] = lambda work: None,
        on_step: Callable[[str], None] = lambda words: None,
        on_warning: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._policy = policy
        self._settings = guarded(settings, policy)
        self._target = target
        self._digest = digest
        self._lists = lists
        self._account = account
        self._listeners = listeners
        self._on_step = on_step
        self._on_warning = on_warning
        self._reins = Reins(policy.guards.deadline, on_work)
        self.report = NightReport(policy.name)

    def stop(self, reason: str) -> None:
        """Begin nothing new and let what is in flight end; resumable."""
        self._reins.stop(Stop(RunState.INTERRUPTED, reason))

    async def run(self, *, dry_run: bool = False) -> NightReport:
        """Do it; also what went wrong is in the report. Nothing but a fault of ours or a cancellation is raised."""
        report = self.report
        report.dry_run = dry_run
        try:
            nights = Nights(self._policy.folder, self._policy.state.keep)
            with nights.alone():
                await self._night(nights, dry_run)
                if not dry_run:
                    report.removed = nights.rotate()
        except StoppedError as stopped:
            report.state, report.reason = stopped.stop.state, stopped.stop.reason
            report.exit = exit_code(Result(report.state))
        except AsyncggError as error:
            report.state, report.reason, report.exit = RunState.ABORTED, str(error), error.exit_code
        if report.night is not None and report.night.folder.is_dir():
            report.night.write_report(report.document())
        return report

    # --- the steps ---

    async def _night(self, nights: Nights, dry_run: bool) -> None:
        report = self.report
        last = None if dry_run or not self._policy.state.resume_unfinished else nights.last()
        if last is not None and last.unfinished_run(self._digest):
            report.resumed = await self._go_on(last)
            if report.resumed.exit not in {0, 3}:
                report.state, report.exit = report.resumed.state, report.resumed.exit
                report.reason = f"the run of {last.name} did not come to its end: {report.resumed.reason}"
                return
        night = _killed_before_its_run(last)
        if night is not None:
            try:
                await self._sweep(night)
            except SnapshotError as error:  # of another account, Region or filter, or too old
                self._warn(f"the sweep of {night.name} is not gone on with: {error}")
                night = None
        if night is None:
            night = nights.rehearse() if dry_run else nights.begin(time.time())
            await self._sweep(night)
        if self._view_is_complete():
            await self._decide_and_run(night, dry_run)

    async def _go_on(self, night: Night) -> NightReport:
        """Finish an earlier night's run. Raises `GuardError` when it was begun in another account or Region."""
        self._on_step(f"going on with the run of {night.name}")
        with JournalReader(night.journal) as reader:
            meta = reader.meta()
        if self._account is not None and meta.get("account", self._account.account) != self._account.account:
            raise GuardError(
                f"the run of {night.name} was begun in account {meta['account']}, these credentials are of"
                f" {self._account.account}; nothing was sent"
            )
        if (meta.get("region"), meta.get("endpoint")) != (self._target.region, self._target.endpoint_url):
            raise GuardError(
                f"the run of {night.name} was begun at {meta.get('endpoint')}, this one would go to"
                f" {self._target.endpoint_url}; nothing was sent"
            )
        report = NightReport(self._policy.name, night)
        result, report.summary, report.canary = await self._send(night)
        report.state, report.reason, report.exit = result.state, result.reason, exit_code(result)
        night.write_report(report.document())
        return report

    async def _sweep(self, night: Night) -> None:
        self.report.night = night
        if night.snapshot.exists():
            with Snapshot(night.snapshot) as snapshot:
                if snapshot.finished and time.time() - snapshot.begun_at <= _FRESH:
                    return
        sources = self._policy.sources
        self.report.swept = await take_inventory(
            night.snapshot,
            self._reins.timed(self._settings),
            self._target,
            account=self._account,
            filters=CoreFilter(sources.thing_group or "", sources.status or "", sources.runtime or ""),
            max_age=_FRESH,
            listeners=self._listeners,
            on_sweep=self._reins.begun,
        )

    def _view_is_complete(self) -> bool:
        report, swept = self.report, self.report.swept
        if swept is not None and not swept.finished:
            report.state, report.reason = swept.state, f"the sweep: {swept.reason}"
            report.exit = exit_code(Result(swept.state, swept.reason, swept.credentials))
            return False
        assert report.night is not None
        with Snapshot(report.night.snapshot) as snapshot:
            share, allowed = snapshot.failed_share, self._policy.guards.max_failed_share
            if share > allowed:
                raise GuardError(
                    f"{share:.1%} of the cores could not be listed, max-failed-share allows {allowed:.1%}: an"
                    " incomplete view is no small fleet; nothing was sent"
                )
        return True

    async def _decide_and_run(self, night: Night, dry_run: bool) -> None:
        report = self.report
        with Snapshot(night.snapshot) as snapshot:
            self._on_step(f"deciding about {snapshot.counts().associations:,} associations")
            preparation = self._preparation(night, snapshot)
            try:
                report.tally = await self._decided(night, snapshot, preparation)
                self._refuse_too_many(report.tally)
            except BaseException:
                preparation.discard()
                raise
        if dry_run or not report.tally.selected:
            preparation.discard()
            report.state = RunState.PLANNED if dry_run else RunState.COMPLETE
            report.exit = 0
            report.reason = "nothing was sent" if dry_run else "nothing is selected"
            return
        preparation.finish(self._target)
        result, report.summary, report.canary = await self._send(night)
        report.state, report.reason, report.exit = result.state, result.reason, exit_code(result)

    def _preparation(self, night: Night, snapshot: Snapshot) -> Preparation:
        facts = {
            "policy": self._digest,
            "policy_name": self._policy.name,
            **evidence_fact(EvidenceKind.LISTING, night.snapshot, snapshot.begun_at),
        }
        night.forget()
        return Preparation(night.journal, self._settings, source=f"policy {self._policy.name}", facts=facts)

    async def _decided(self, night: Night, snapshot: Snapshot, preparation: Preparation) -> Tally:
        policy = self._policy
        async with AsyncExitStack() as stack:
            registry = None
            if policy.asks:
                from asyncgg.cleanup.iot_open import open_registry

                registry = await stack.enter_async_context(open_registry(connection_of(self._settings), policy.iot))
            questions = Questions(
                registry, lists=self._lists, concurrency=policy.iot.concurrency, on_warning=self._warn
            )
            try:
                return await self._reins.within(
                    choose(policy, snapshot, questions, time.time(), preparation, night.decisions)
                )
            finally:
                self.report.asked = questions.statistics()

    def _refuse_too_many(self, tally: Tally) -> None:
        if self.report.asked is not None and self.report.asked.strange and tally.selected:
            raise GuardError(
                f"AWS IoT knows none of the {self.report.asked.things:,} things it was asked for: is this the registry"
                " of another account or Region? nothing was sent"
            )
        if reasons := list(tally.refusals(self._policy.guards)):
            raise GuardError(f"{'; '.join(reasons)}; nothing was sent")

    async def _send(self, night: Night) -> tuple[Result, Summary, Canary | None]:
        """Run the night's journal, the canary first."""
        canary: Canary | None = None
        first = self._policy.guards.canary
        before = _summary(night)
        if first is not None and before.total > first and not has_passed(night):
            left = first - before.disassociated - before.failed
            if left > 0:
                result, summary = await self._execute(night, first=left)
                if not result.first_only:
                    return result, summary, None
            canary = await self._verified(night, first)
            if not canary.passed:
                reason = canary.words
                await note_failed(night, reason)
                return Result(RunState.ABORTED, reason), _summary(night), canary
            await note_passed(night)
        result, summary = await self._execute(night, ramp=self._ramp())
        return result, summary, canary

    async def _verified(self, night: Night, first: int) -> Canary:
        failed = _summary(night).failed
        if failed:
            return Canary(first, 0, failed)
        self._on_step(f"verifying the canary: are its {first:,} things gone?")
        settings = self._reins.timed(self._settings)
        looking = still_listed(night, first, settings, self._target, self._account, self._listeners)
        return Canary(first, await self._reins.within(looking), 0)

    async def _execute(
        self, night: Night, *, first: int | None = None, ramp: RampPlan | None = None
    ) -> tuple[Result, Summary]:
        return await execute(
            night.journal,
            self._reins.timed(self._settings),
            region=self._target.region,
            account=self._account,
            listeners=self._listeners,
            on_engine=self._reins.begun,
            first=first,
            ramp=ramp,
        )

    def _ramp(self) -> RampPlan | None:
        ramp = self._policy.guards.ramp
        if ramp is None:
            return None
        return RampPlan(ramp.base_per_minute, ramp.factor, ramp.increase_after, ramp.maximum_per_minute or math.inf)

    def _warn(self, words: str) -> None:
        self.report.warnings.append(words)
        self._on_warning(words)


def guarded(settings: Settings, policy: Policy) -> Settings:
    """The settings of a run under this policy: its guards are the ones that count."""
    guards = policy.guards
    return settings.model_copy(
        update={
            "quota_share": guards.quota_share,
            "expect_account": guards.expect_account,
            "abort_at": guards.abort_at,
            "abort_after": guards.abort_after,
            "deadline": None,
            "max_things": None,
            "protect": None,
            "journal": None,
        }
    )


def _killed_before_its_run(night: Night | None) -> Night | None:
    """The night, when it has a sweep and nothing was decided: nobody knows how it ended."""
    if night is None or night.reported or night.prepared or not night.snapshot.exists():
        return None
    return night


def _summary(night: Night) -> Summary:
    with JournalReader(night.journal) as reader:
        return reader.summary()
