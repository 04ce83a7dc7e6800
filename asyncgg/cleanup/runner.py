"""One run of a policy: scan, check, decide, send, report."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from asyncgg.cleanup.context import (
    PolicyContext,
    StopController,
    Stoppable,
    StoppedError,
    core_filter,
    effective_settings,
)
from asyncgg.cleanup.decisions import decide_all
from asyncgg.cleanup.lookup_progress import RegistryLookups
from asyncgg.cleanup.policy.model import Policy
from asyncgg.cleanup.registry_cache import RegistryCache, ThingRegistry
from asyncgg.cleanup.report import CleanupReport, DecisionCounts
from asyncgg.cleanup.resume import find_resumable, require_not_running
from asyncgg.cleanup.rollout import read_summary, roll_out
from asyncgg.cleanup.rules.base import Api
from asyncgg.engine import StopReason
from asyncgg.errors import AsyncggError, GuardError, SnapshotError
from asyncgg.events import Listener
from asyncgg.file_limit import fit_concurrency
from asyncgg.formatting import format_count
from asyncgg.inventory import ScanResult, Snapshot
from asyncgg.inventory.scope import empty_group_warning
from asyncgg.models import RunState
from asyncgg.run_directory import RunDirectory, StateDirectory
from asyncgg.runs import JournalBuilder, SendingLease
from asyncgg.runs.connection import connection_from_settings
from asyncgg.runs.provenance import ProvenanceKind, provenance_to_meta
from asyncgg.runs.scan import FullTransport
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, Endpoint


class PolicyRunner:
    """Runs a policy once. Needs a running loop.

    `policy`: as `merge_limits`. `digest`: as `policy_digest`. `lists`: the `not-in` lists.
    `transport` and `registry` replace those made from the settings. `lease`: as `execute`.
    `on_start` gets each scan and run, `on_stage` the name of each step, `on_warning` each warning.
    `before_sending` gets the number of selected things and can raise an `AsyncggError` instead of
    letting the run begin; it is cancelled if the run is stopped.
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
        lease: SendingLease | None = None,
        listeners: Sequence[Listener] = (),
        on_start: Callable[[Stoppable], None] = lambda stoppable: None,
        on_stage: Callable[[str], None] = lambda message: None,
        on_warning: Callable[[str], None] = lambda message: None,
        before_sending: Callable[[int], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._policy = policy
        self._before_sending = before_sending
        self._digest = digest
        self._lists = lists
        self._registry = registry
        self._on_warning = on_warning
        self._stop_controller = StopController(policy.guards.deadline, on_start)
        settings = effective_settings(settings, policy)
        self._context = PolicyContext(
            settings, endpoint, account, self._stop_controller, listeners, on_stage, transport, policy.name, lease
        )
        self.report = CleanupReport(policy.name)

    def stop(self, stop: StopReason) -> None:
        """Start nothing new and wait for in-flight requests; the run can be resumed."""
        self._stop_controller.stop(stop)

    def progress(self) -> Any:
        """The progress of the current scan or run; None before the first one."""
        return self._stop_controller.progress()

    async def run(self, *, dry_run: bool = False) -> CleanupReport:
        """Run the policy. Raises only internal errors and cancellation; the report has all others."""
        report = self.report
        report.dry_run = dry_run
        try:
            state_dir = StateDirectory(self._policy.state_dir, self._policy.state.keep_runs)
            with state_dir.lock():
                await self._run_and_report(state_dir, dry_run)
        except AsyncggError as error:
            report.fail(error)
        return report

    async def _run_and_report(self, state_dir: StateDirectory, dry_run: bool) -> None:
        report = self.report
        try:
            await self._execute(state_dir, dry_run)
            report.downgrade_if_uncertain()
        except StoppedError as stopped:
            report.finish(stopped.result)
        except AsyncggError as error:
            report.fail(error)
        if not dry_run:
            report.pruned = state_dir.prune(report.run_dir)
        if report.run_dir is not None:
            self._write_report(report.run_dir, report)

    async def _execute(self, state_dir: StateDirectory, dry_run: bool) -> None:
        # Nothing is sent before the scan is complete, everything is decided and all limits are checked.
        run_dir = state_dir.dry_run_directory() if dry_run else await self._resume_or_create(state_dir)
        if run_dir is None:
            return
        scan = self.report.scan or await self._scan(run_dir)
        self._check_coverage(scan)
        if await self._decide(run_dir, dry_run):
            await self._roll_out(run_dir, self.report)

    # --- resuming ---

    async def _resume_or_create(self, state_dir: StateDirectory) -> RunDirectory | None:
        """Resume the previous run or scan; the folder of this run, None if the resumed run failed."""
        previous = state_dir.latest()
        if previous is not None:
            require_not_running(previous)
        if previous is not None and self._policy.state.resume_unfinished:
            origin, filters = self._context.origin, core_filter(self._policy)
            resumable = find_resumable(previous, self._digest, origin, filters, time.time())
            if resumable.skip_reason:
                self._warn(f"Not resuming {previous.name}: {resumable.skip_reason}")
            if resumable.run and not await self._resume_run(previous):
                return None
            if resumable.scan and await self._resume_scan(previous):
                return previous
        return state_dir.create(time.time())

    async def _resume_run(self, run_dir: RunDirectory) -> bool:
        """Send the rest of an interrupted run; whether it completed."""
        self._context.on_stage(f"resuming run {run_dir.name}")
        report = self.report
        report.resumed = resumed = CleanupReport(self._policy.name, run_dir)
        await self._roll_out(run_dir, resumed)
        self._write_report(run_dir, resumed)
        if resumed.exit in {0, 3}:
            return True
        report.state, report.exit = resumed.state, resumed.exit
        report.reason = f"run {run_dir.name} did not complete: {resumed.reason}"
        return False

    async def _resume_scan(self, run_dir: RunDirectory) -> bool:
        """Complete an interrupted scan; whether its snapshot can be used."""
        try:
            await self._scan(run_dir)
        except SnapshotError as error:
            self._warn(f"Not resuming {run_dir.name}: {error}")
            return False
        return True

    # --- scan, check, decide, send ---

    async def _scan(self, run_dir: RunDirectory) -> ScanResult:
        self.report.run_dir = run_dir
        if run_dir.snapshot.exists():
            with Snapshot(run_dir.snapshot) as snapshot:
                if snapshot.finished:
                    self.report.scan = _result_from_snapshot(snapshot)
                    return self.report.scan
            self._context.on_stage(f"resuming the scan of {run_dir.name}")
        self.report.scan = await self._context.scan(run_dir.snapshot, filters=core_filter(self._policy))
        return self.report.scan

    def _check_coverage(self, scan: ScanResult) -> None:
        """Raise an error if too much of the fleet is missing: that distorts the limits."""
        if not scan.finished:
            raise StoppedError(StopReason(scan.state, f"scan: {scan.reason}", scan.is_auth_error))
        share, allowed = scan.failed_share, self._policy.guards.max_failed_share
        if share > allowed:
            raise GuardError(
                f"the scan is incomplete: {share:.1%} of the cores could not be listed, max-failed-share allows"
                f" {allowed:.1%}; nothing was sent"
            )
        if share:
            incomplete = scan.counts.denied + scan.counts.failed
            self._warn(f"{incomplete:,} of {scan.counts.cores:,} cores could not be listed; their things are kept")
        if warning := empty_group_warning(core_filter(self._policy), scan.counts.cores):
            self._warn(warning)

    async def _decide(self, run_dir: RunDirectory, dry_run: bool) -> bool:
        """Write the decisions and the journal; whether the journal must be sent."""
        report = self.report
        run_dir.reset_decisions()
        with Snapshot(run_dir.snapshot) as snapshot:
            self._context.on_stage(f"deciding about {format_count(snapshot.counts().associations, 'association')}")
            builder = self._journal_builder(run_dir, snapshot)
            try:
                report.decision_counts = counts = await self._evaluate(run_dir, snapshot, builder)
                report.rules = [rule.id for rule in self._policy.rules]
                report.limits = counts.limits_used(self._policy.guards)
                if violations := list(counts.limit_violations(self._policy.guards)):
                    raise GuardError(f"{'; '.join(violations)}; nothing was sent")
                if self._before_sending is not None and counts.selected and not dry_run:
                    await self._stop_controller.run_cancellable(self._before_sending(counts.selected))
            except BaseException:
                builder.discard()
                raise
        if dry_run or not counts.selected:
            builder.discard()
            report.state = RunState.PLANNED if dry_run else RunState.COMPLETE
            report.exit = 0
            report.reason = "nothing was sent" if dry_run else "nothing is selected"
            return False
        builder.finish(self._context.endpoint)
        return True

    def _journal_builder(self, run_dir: RunDirectory, snapshot: Snapshot) -> JournalBuilder:
        metadata = {
            "policy": self._digest,
            "policy_name": self._policy.name,
            "account": self._context.origin.account,
            **provenance_to_meta(ProvenanceKind.LISTING, run_dir.snapshot, snapshot.started_at),
        }
        return JournalBuilder(
            run_dir.journal, self._context.settings, source=f"policy {self._policy.name}", extra_meta=metadata
        )

    async def _evaluate(self, run_dir: RunDirectory, snapshot: Snapshot, builder: JournalBuilder) -> DecisionCounts:
        policy = self._policy
        async with AsyncExitStack() as stack:
            registry = self._registry
            if policy.required_apis and registry is None:
                from asyncgg.cleanup.registry import open_registry

                registry_context = open_registry(connection_from_settings(self._context.settings), policy.iot)
                registry = await stack.enter_async_context(registry_context)
            if (concurrency := fit_concurrency(policy.iot.concurrency)) < policy.iot.concurrency:
                self._warn(f"[iot] concurrency is lowered to {concurrency}: the limit on open files is low")
            cache = RegistryCache(registry, lists=self._lists, concurrency=concurrency, on_warning=self._warn)
            if policy.required_apis:
                rate, clock = policy.iot.rate(Api.DESCRIBE_THING), asyncio.get_running_loop().time
                lookups = RegistryLookups(cache, snapshot.counts().associations, rate, clock)
                self._stop_controller.attach(lookups)
            try:
                work = decide_all(policy, snapshot, cache, time.time(), builder, run_dir)
                return await self._stop_controller.run_cancellable(work)
            finally:
                self.report.registry_queries = cache.statistics()

    async def _roll_out(self, run_dir: RunDirectory, report: CleanupReport) -> None:
        """Send the journal; its end, also after an error, goes into `report`."""
        try:
            rollout = await roll_out(run_dir, self._policy.guards, self._context)
        except AsyncggError as error:
            report.fail(error)
            with contextlib.suppress(AsyncggError):  # report what was sent before the error
                report.summary = read_summary(run_dir)
        else:
            report.finish(rollout.result)
            report.summary, report.canary = rollout.summary, rollout.canary

    # --- reporting ---

    def _write_report(self, run_dir: RunDirectory, report: CleanupReport) -> None:
        """Write the report; that of a resumed run keeps the values of its earlier start."""
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


def _result_from_snapshot(snapshot: Snapshot) -> ScanResult:
    """The result of a scan that an earlier start completed, without its requests."""
    counts = snapshot.counts()
    incomplete = counts.denied + counts.failed
    state, reason = (RunState.PARTIAL, "some cores could not be listed") if incomplete else (RunState.COMPLETE, "")
    return ScanResult(snapshot.path, state, reason, False, counts, 0, 0, 0, 0, 0.0)
