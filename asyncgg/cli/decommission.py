"""Runs the stages of a decommission: certificates in AWS IoT, associations through the engine."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asyncgg.cli.console import require_terminal
from asyncgg.cli.context import CommandContext
from asyncgg.cli.decommission_associations import AssociationChanger, find_associated
from asyncgg.cli.progress import ProgressDisplay
from asyncgg.cli.scan import SCAN_VIEW
from asyncgg.cli.supervisor import Supervision, run_async, run_supervised
from asyncgg.decommission.control_plane import IotControlPlane, open_control_plane
from asyncgg.decommission.guards import GuardOptions
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import Stage, StepState
from asyncgg.decommission.quotas import parse_quotas, quarantine_requests, stage_cost
from asyncgg.decommission.report import devices_of_stage, exit_code_of, format_summary_lines, summarize
from asyncgg.decommission.stages import DEVICE, StageLimits, StageRun
from asyncgg.errors import GuardError, UsageError
from asyncgg.formatting import format_duration
from asyncgg.manifest import load_protect_list
from asyncgg.manifest.name_lists import read_names
from asyncgg.runs import quota_rate, verify_account
from asyncgg.runs.lookup import LookupTargets
from asyncgg.runs.prepare import default_stem
from asyncgg.transport import Endpoint

_SAVED: Final = ("connected_within", "allow_unknown_connectivity", "allow_shared", "delete_certificates")
"""Options that `resume` takes from the journal."""


@dataclass(slots=True)
class DecommissionSession:
    """One command that works on a journal; `options` are those of the command line."""

    context: CommandContext
    options: dict[str, Any]
    arguments: Mapping[str, Any]

    def start(self, things: str, journal: Path | None, *, dry_run: bool) -> int:
        """Ask about the listed devices; then quarantine them, unless this is a `dry_run`."""
        targets = LookupTargets.from_names("thing", read_names(things, "thing", reject_pairs=True), things)
        limit = self.context.settings.max_things
        if limit is not None and len(targets.names) > limit:
            raise GuardError(f"{len(targets.names):,} devices, but --max-things allows {limit:,}; nothing was sent")
        if not (dry_run or self.options["yes"]):
            require_terminal(stdin_in_use=things == "-")
        with ExitStack() as stack:
            endpoint, account = self._connect()
            if dry_run and journal is None:
                journal = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "plan.journal"
            path = journal or Path(f"{default_stem('decommission')}.journal")
            saved = {name: self.options[name] for name in _SAVED}
            meta = {"account": account, "region": endpoint.region, "endpoint": endpoint.url}
            meta |= {"stage": Stage.QUARANTINE, "created": repr(time.time()), "options": json.dumps(saved)}
            book = stack.enter_context(DecommissionJournal.create(path, targets.names, **meta))
            return self._quarantine(book, dry_run=dry_run, stdin_in_use=things == "-")

    def release(self, path: Path) -> int:
        """Undo the quarantine of a journal."""
        with self._open(path) as book:
            if self._stage(book) is Stage.DELETE:
                raise UsageError(f"{path}: its devices are being deleted; they cannot be released")
            names = devices_of_stage(book, Stage.RELEASE)
            self._confirm(len(names), "release them")
            run_async(book.clear_refusals(Stage.RELEASE))
            return self._release(book, names)

    def delete(self, path: Path, *, min_age: float) -> int:
        """Delete the devices of a finished quarantine. Raises `GuardError` if it is younger than `min_age` seconds."""
        with self._open(path) as book:
            if self._stage(book) is Stage.RELEASE:
                raise UsageError(f"{path}: its devices were released; quarantine them again first")
            summary, finished_at = summarize(book, Stage.QUARANTINE), book.meta().get("quarantined_at")
            if finished_at is None or summary["devices"]["pending"] or summary["devices"]["failed"]:
                raise UsageError(f"{path}: its quarantine is not finished; resume it first")
            if (age := time.time() - float(finished_at)) < min_age:
                raise GuardError(
                    f"{path}: the quarantine ended {format_duration(age)} ago, --min-age requires"
                    f" {format_duration(min_age)}; nothing was sent"
                )
            account, settings = book.meta()["account"], self.context.settings
            if self.options["yes"] and settings.expect_account is None:
                raise UsageError("delete cannot be undone: --yes also requires --expect-account ID; nothing was sent")
            names = devices_of_stage(book, Stage.DELETE)
            self._confirm(len(names), "delete them permanently")
            if not self.options["yes"] and account:
                self.context.console.confirm_count(account, "delete them in this account", stdin_in_use=False)
            saved = {name: self.options[name] for name in _SAVED}
            run_async(book.put_meta(stage=Stage.DELETE, options=json.dumps(saved)))
            return self._delete(book, names)

    def resume(self, path: Path) -> int:
        """Continue the stage of a journal."""
        with self._open(path) as book:
            saved = json.loads(book.meta().get("options", "{}"))
            self.options |= {name: value for name, value in saved.items() if not self.options.get(name)}
            match self._stage(book):
                case Stage.QUARANTINE:
                    return self._quarantine(book)
                case Stage.RELEASE:
                    return self._release(book, devices_of_stage(book, Stage.RELEASE))
                case _:
                    return self._delete(book, devices_of_stage(book, Stage.DELETE))

    # --- stages ---

    def _quarantine(self, book: DecommissionJournal, *, dry_run: bool = False, stdin_in_use: bool = False) -> int:
        stage, options = Stage.QUARANTINE, self._guard_options(book)
        run = self._run(book, stage, lambda run: run.collect(options))
        names = book.names()
        unknown = len(names) - len(book.devices())
        refused = book.refusals(stage)
        allowed = [name for name in names if name not in refused]
        if dry_run:
            return self._write_plan(book, run)
        if unknown or run.reason:
            return self._finish(book, stage, run)
        if not book.meta().get("confirmed"):
            self._log(*self._plan_lines(book))
            self._check_fleet_share(len(allowed))
            self._confirm(len(allowed), "quarantine them", stdin_in_use=stdin_in_use)
            run_async(book.put_meta(confirmed=1))
        run = self._run(book, stage, lambda run: run.switch(allowed, options.allow_shared))
        if not run.reason:
            AssociationChanger(self.context, self.arguments, book, stage).run()
            if not summarize(book, stage)["devices"]["pending"]:
                run_async(book.put_meta(quarantined_at=repr(time.time())))
        return self._finish(book, stage, run)

    def _release(self, book: DecommissionJournal, names: Sequence[str]) -> int:
        run_async(book.put_meta(stage=Stage.RELEASE))
        run = self._run(book, Stage.RELEASE, lambda run: run.switch(names))
        if not run.reason:
            AssociationChanger(self.context, self.arguments, book, Stage.RELEASE).run()
        return self._finish(book, Stage.RELEASE, run)

    def _delete(self, book: DecommissionJournal, names: Sequence[str]) -> int:
        options = self._guard_options(book)
        run_async(book.clear_refusals(Stage.DELETE))
        steps = book.steps()
        pending = [
            name
            for name in names
            if (step := steps.get((Stage.DELETE, name, DEVICE))) is None or step.state is not StepState.DONE
        ]
        associated = find_associated(self.context, pending)
        run = self._run(book, Stage.DELETE, lambda run: run.check_again(pending, options, associated))
        if not run.reason:
            refused = book.refusals(Stage.DELETE)
            allowed = [name for name in pending if name not in refused]
            delete_certificates = bool(self.options["delete_certificates"])
            run = self._run(
                book, Stage.DELETE, lambda run: run.delete(allowed, delete_certificates=delete_certificates)
            )
        return self._finish(book, Stage.DELETE, run)

    def _run(
        self, book: DecommissionJournal, stage: Stage, work: Callable[[StageRun], Coroutine[Any, Any, None]]
    ) -> StageRun:
        """Do `work` with a connection. The first signal stops it gracefully."""
        settings = self.context.settings
        limits = StageLimits(
            canary=self.options["canary"], abort_at=settings.abort_at, abort_after=settings.abort_after
        )

        async def with_plane(supervision: Supervision) -> StageRun:
            async with self._open_plane() as plane:
                run = StageRun(book, stage, plane, limits)
                supervision.stop = run.stop
                await work(run)
                return run

        return run_supervised(with_plane, ProgressDisplay(self.context.console, view=SCAN_VIEW), show_end=False)

    # --- guards and output ---

    def _connect(self) -> tuple[Endpoint, str]:
        endpoint = self.context.resolve_endpoint()
        identity, _ = run_async(verify_account(endpoint, self.context.settings))
        return endpoint, identity.account if identity else ""

    @contextmanager
    def _open(self, path: Path) -> Iterator[DecommissionJournal]:
        """The journal, if account, Region and endpoint are those of its start. Raises `GuardError`."""
        with DecommissionJournal(path) as book:
            endpoint, account = self._connect()
            meta = book.meta()
            actual = {"account": account, "region": endpoint.region, "endpoint": endpoint.url}
            for name, value in actual.items():
                if value != meta[name]:
                    raise GuardError(f"{path} is of {name} {meta[name] or '?'}, not {value or '?'}; nothing was sent")
            yield book

    def _open_plane(self) -> Any:
        settings = self.context.settings
        quotas = {name: rate * settings.quota_share for name, rate in parse_quotas(self.options["iot_quota"]).items()}
        region = self.context.resolve_endpoint().region
        return open_control_plane(self.context.connection, quotas, core_device_rate=quota_rate(settings, region))

    def _guard_options(self, book: DecommissionJournal) -> GuardOptions:
        protect = self.context.settings.protect
        protect_list = load_protect_list(str(protect)) if protect else None
        return GuardOptions(
            account=book.meta()["account"],
            now=time.time(),
            connected_within=self.options["connected_within"],
            allow_unknown_connectivity=self.options["allow_unknown_connectivity"],
            allow_shared=frozenset(self.options["allow_shared"]),
            is_protected=lambda name: protect_list is not None and protect_list.match("", name) is not None,
        )

    def _stage(self, book: DecommissionJournal) -> Stage:
        return Stage(book.meta()["stage"])

    def _confirm(self, count: int, action: str, *, stdin_in_use: bool = False) -> None:
        if count and not self.options["yes"]:
            require_terminal(stdin_in_use=stdin_in_use)
            self.context.console.confirm_count(count, action, stdin_in_use=stdin_in_use)

    def _check_fleet_share(self, count: int) -> None:
        percent = self.options["max_percent"]
        if percent is None or not count:
            return

        async def has_enough(minimum: int) -> bool:
            plane: IotControlPlane
            async with self._open_plane() as plane:
                return await plane.fleet_has(minimum)

        if not run_async(has_enough(-int(-count * 100 // percent))):
            raise GuardError(f"{count:,} devices are more than {percent:g} % of the fleet (--max-percent)")

    def _plan_lines(self, book: DecommissionJournal) -> list[str]:
        summary = summarize(book, Stage.QUARANTINE)
        quotas = parse_quotas(self.options["iot_quota"])
        cost = stage_cost(quarantine_requests(summary["devices"]["total"], summary["certificates"]), quotas)
        seconds = format_duration(cost.seconds / self.context.settings.quota_share)
        decides = f"{cost.slowest} decides: {cost.requests[cost.slowest]:,} requests at {quotas[cost.slowest]:g}/s"
        return [
            *format_summary_lines(summary),
            f"  certificates {summary['certificates']:,}",
            f"  time       {seconds} in all; {decides}; raise that quota first",
        ]

    def _write_plan(self, book: DecommissionJournal, run: StageRun) -> int:
        summary = summarize(book, Stage.QUARANTINE, reason=run.reason)
        summary |= {
            "stage": "plan",
            "requests": quarantine_requests(summary["devices"]["total"], summary["certificates"]),
        }
        summary["state"] = "interrupted" if run.reason else "planned"
        self.context.console.write_result(summary, self._plan_lines(book), always_print=True)
        if run.reason:
            return 130
        return 3 if summary["devices"]["refused"] else 0

    def _finish(self, book: DecommissionJournal, stage: Stage, run: StageRun) -> int:
        summary = summarize(book, stage, reason=run.reason, aborted=run.aborted)
        self.context.console.write_result(summary, format_summary_lines(summary), always_print=True)
        return exit_code_of(summary)

    def _log(self, *lines: str) -> None:
        if not self.context.console.quiet:
            self.context.console.log_event({"event": "plan"}, *lines)
