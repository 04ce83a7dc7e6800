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

from asyncgg.cleanup.beginning import effective_settings
from asyncgg.cleanup.context import PolicyContext, core_filter
from asyncgg.cleanup.decide import decide_all
from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.registry_cache import RegistryCache, ThingRegistry
from asyncgg.cleanup.reins import StopController, Stoppable, StoppedError
from asyncgg.cleanup.report import CleanupReport
from asyncgg.cleanup.resume import find_resumable, require_not_running
from asyncgg.cleanup.rollout import read_summary, roll_out
from asyncgg.cleanup.state import RunDirectory, StateDirectory
from asyncgg.cleanup.tally import DecisionCounts
from asyncgg.engine import RunResult, StopReason
from asyncgg.errors import AsyncggError, GuardError, SnapshotError
from asyncgg.events import Listener
from asyncgg.inventory import CoreState, ScanResult, Snapshot
from asyncgg.models import RunState
from asyncgg.runs import JournalBuilder
from asyncgg.runs.execute import connection_from_settings
from asyncgg.runs.provenance import ProvenanceKind, provenance_to_meta
from asyncgg.runs.scan import FullTransport
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, Endpoint

__all__ = ["PolicyRunner"]

_REGISTRY_PROBE_CORES: Final = 10
"""Core devices that the registry is asked for, until it has one. [service model: coreDeviceThingName, "also the name of
the IoT thing"]"""


class PolicyRunner:
    """One start of a policy, which should be `merge_limits`; made within a running loop. One object, one start.

    `lists`: the policy's `not-in` lists, read. `digest`: of everything that decides what goes; a run that was decided
    by something else is not gone on with. `transport`, `registry`: instead of those made from the settings. `on_work`,
    `on_stage`, `on_warning`: told what is going on.
    """

    def __init__(
        self,
        policy: Policy,
        settings: Settings,
        endpoint: Endpoint,
        *,
        digest: str,
        lists: Mapping[str, frozenset[str]],
        account: CallerIdentity | None = None,
        transport: FullTransport | None = None,
        registry: ThingRegistry | None = None,
        listeners: Sequence[Listener] = (),
        on_start: Callable[[Stoppable], None] = lambda work: None,
        on_stage: Callable[[str], None] = lambda words: None,
        on_warning: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._policy = policy
        self._digest = digest
        self._lists = lists
        self._registry = registry
        self._on_warning = on_warning
        self._stop_controller = StopController(policy.guards.deadline, on_start)
        settings = effective_settings(settings, policy)
        self._context = PolicyContext(
            settings, endpoint, account, self._stop_controller, listeners, on_stage, transport
        )
        self.report = CleanupReport(policy.name)

    def stop(self, reason: str) -> None:
        """Begin nothing new and let what is in flight end; resumable."""
        self._stop_controller.stop(StopReason(RunState.INTERRUPTED, reason))

    async def run(self, *, dry_run: bool = False) -> CleanupReport:
        """Do it; also what went wrong is in the report. Nothing but a fault of ours or a cancellation is raised."""
        report = self.report
        report.dry_run = dry_run
        try:
            state_dir = StateDirectory(self._policy.state_dir, self._policy.state.keep_runs)
            with state_dir.lock():
                await self._run_and_report(state_dir, dry_run)
        except AsyncggError as error:
            report.fail(error)
        return report

    # --- the steps ---

    async def _run_and_report(self, state_dir: StateDirectory, dry_run: bool) -> None:
        report = self.report
        try:
            await self._execute(state_dir, dry_run)
            report.downgrade_if_uncertain()
        except StoppedError as stopped:
            report.finish(RunResult(stopped.stop.state, stopped.stop.message, stopped.stop.is_auth_error))
        except AsyncggError as error:
            report.fail(error)
        if not dry_run:
            report.pruned = state_dir.prune(report.run_dir)
        if report.run_dir is not None:
            self._write_report(report.run_dir, report)

    async def _execute(self, state_dir: StateDirectory, dry_run: bool) -> None:
        reused_dir = None
        previous = None if dry_run else state_dir.latest()
        if previous is not None:
            require_not_running(previous)
        if previous is not None and self._policy.state.resume_unfinished:
            resumable = find_resumable(
                previous, self._digest, self._context.origin, core_filter(self._policy), time.time()
            )
            if resumable.skip_reason:
                self._warn(f"{previous.name} is not gone on with: {resumable.skip_reason}")
            if resumable.run and not await self._resume_previous(previous):
                return
            reused_dir = previous if resumable.scan else None
        if reused_dir is not None:
            try:
                await self._scan(reused_dir)
            except SnapshotError as error:
                self._warn(f"the sweep of {reused_dir.name} is not gone on with: {error}")
                reused_dir = None
        run_dir = reused_dir or (state_dir.dry_run_directory() if dry_run else state_dir.create(time.time()))
        if reused_dir is None:
            await self._scan(run_dir)
        if self._check_coverage(run_dir):
            await self._decide_and_roll_out(run_dir, dry_run)

    async def _resume_previous(self, run_dir: RunDirectory) -> bool:
        """Finish an earlier night's run; whether it came to its end."""
        self._context.on_stage(f"going on with the run of {run_dir.name}")
        report = self.report
        report.resumed = resumed = CleanupReport(self._policy.name, run_dir)
        await self._roll_out(run_dir, resumed)
        self._write_report(run_dir, resumed)
        if resumed.exit in {0, 3}:
            return True
        report.state, report.exit = resumed.state, resumed.exit
        report.reason = f"the run of {run_dir.name} did not come to its end: {resumed.reason}"
        return False

    async def _scan(self, run_dir: RunDirectory) -> None:
        self.report.run_dir = run_dir
        if run_dir.snapshot.exists():
            with Snapshot(run_dir.snapshot) as snapshot:
                if snapshot.finished:
                    self.report.scan = _result_from_snapshot(snapshot)
                    return
            self._context.on_stage(f"going on with the sweep of {run_dir.name}")
        self.report.scan = await self._context.scan(run_dir.snapshot, filters=core_filter(self._policy))

    def _check_coverage(self, run_dir: RunDirectory) -> bool:
        scan = self.report.scan
        assert scan is not None
        if not scan.finished:
            self.report.finish(RunResult(scan.state, f"the sweep: {scan.reason}", scan.is_auth_error))
            return False
        share, allowed = scan.failed_share, self._policy.guards.max_failed_share
        if share > allowed:
            raise GuardError(
                f"{share:.1%} of the cores could not be listed, max-failed-share allows {allowed:.1%}: an"
                " incomplete view is no small fleet; nothing was sent"
            )
        if share:
            incomplete = scan.counts.denied + scan.counts.failed
            self._warn(f"{incomplete:,} of {scan.counts.cores:,} cores could not be listed; what they hold stays")
        return True

    async def _decide_and_roll_out(self, run_dir: RunDirectory, dry_run: bool) -> None:
        report = self.report
        run_dir.reset_decisions()
        with Snapshot(run_dir.snapshot) as snapshot:
            self._context.on_stage(f"deciding about {snapshot.counts().associations:,} associations")
            builder = self._journal_builder(run_dir, snapshot)
            try:
                report.decision_counts = counts = await self._evaluate(run_dir, snapshot, builder)
                if reasons := list(counts.limit_violations(self._policy.guards)):
                    raise GuardError(f"{'; '.join(reasons)}; nothing was sent")
            except BaseException:
                builder.discard()
                raise
        if dry_run or not counts.selected:
            builder.discard()
            report.state = RunState.PLANNED if dry_run else RunState.COMPLETE
            report.exit = 0
            report.reason = "nothing was sent" if dry_run else "nothing is selected"
            return
        builder.finish(self._context.endpoint)
        run_dir.commit_decisions()
        await self._roll_out(run_dir, report)

    def _journal_builder(self, run_dir: RunDirectory, snapshot: Snapshot) -> JournalBuilder:
        metadata = {
            "policy": self._digest,
            "policy_name": self._policy.name,
            "account": self._context.origin.account,
            **provenance_to_meta(ProvenanceKind.LISTING, run_dir.snapshot, snapshot.started_at),
        }
        return JournalBuilder(
            run_dir.journal_draft, self._context.settings, source=f"policy {self._policy.name}", extra_meta=metadata
        )

    async def _evaluate(self, run_dir: RunDirectory, snapshot: Snapshot, builder: JournalBuilder) -> DecisionCounts:
        policy = self._policy
        async with AsyncExitStack() as stack:
            registry = self._registry
            if policy.required_apis and registry is None:
                from asyncgg.cleanup.iot_open import open_registry

                registry_context = open_registry(connection_from_settings(self._context.settings), policy.iot)
                registry = await stack.enter_async_context(registry_context)
            concurrency = policy.iot.concurrency
            cache = RegistryCache(registry, lists=self._lists, concurrency=concurrency, on_warning=self._warn)
            try:
                return await self._stop_controller.run_cancellable(
                    self._evaluate_and_check_registry(run_dir, snapshot, builder, cache)
                )
            finally:
                self.report.registry_queries = cache.statistics()

    async def _evaluate_and_check_registry(
        self, run_dir: RunDirectory, snapshot: Snapshot, builder: JournalBuilder, cache: RegistryCache
    ) -> DecisionCounts:
        counts = await decide_all(self._policy, snapshot, cache, time.time(), builder, run_dir)
        # Many missing things may be all there is to ask for. Their core devices, things as well, tell whose registry
        # it is that lacks them.
        if counts.selected and cache.statistics().missing:
            cores = _recently_active_cores(snapshot)
            if not await cache.any_exists(cores):
                raise GuardError(
                    f"AWS IoT does not have one of the core devices {', '.join(cores)}, which are things as well: is it"
                    " the registry of another account or Region? nothing was sent"
                )
        return counts

    async def _roll_out(self, run_dir: RunDirectory, report: CleanupReport) -> None:
        """Send the night's run; how that ended, even if it broke off, goes into `report`."""
        try:
            rollout = await roll_out(run_dir, self._policy.guards, self._context)
        except AsyncggError as error:
            report.fail(error)
            with contextlib.suppress(AsyncggError):  # what has gone has gone, and should be told
                report.summary = read_summary(run_dir)
        else:
            report.finish(rollout.result)
            report.summary, report.canary = rollout.summary, rollout.canary

    def _write_report(self, run_dir: RunDirectory, report: CleanupReport) -> None:
        """Put the report into its folder; a run that was gone on with keeps what was told of its sweep."""
        document = report.to_dict()
        if report is self.report.resumed:
            previous = run_dir.load_report()
            document = {name: previous.get(name) if value is None else value for name, value in document.items()}
        try:
            run_dir.write_report(document)
        except AsyncggError as error:
            self._warn(str(error))
            if report.exit == 0:
                report.exit, report.reason = error.exit_code, str(error)

    def _warn(self, message: str) -> None:
        self.report.warnings.append(message)
        self._on_warning(message)


def _recently_active_cores(snapshot: Snapshot) -> list[str]:
    """The core devices that said something last."""
    devices = (core.device for core in snapshot.cores() if core.state is CoreState.DONE)
    return [core.name for core in nlargest(_REGISTRY_PROBE_CORES, devices, key=lambda core: core.last_status_at or 0.0)]


def _result_from_snapshot(snapshot: Snapshot) -> ScanResult:
    """What a sweep came to that an earlier start has finished; its requests are not of this one."""
    counts = snapshot.counts()
    incomplete = counts.denied + counts.failed
    state, reason = (RunState.PARTIAL, "some cores could not be listed") if incomplete else (RunState.COMPLETE, "")
    return ScanResult(snapshot.path, state, reason, False, counts, 0, 0, 0, 0, 0.0)
