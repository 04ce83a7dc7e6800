"""Runs the stages of a decommission: certificates in AWS IoT, associations through the engine."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, Self

from asyncgg.cli.console import require_terminal
from asyncgg.cli.context import CommandContext
from asyncgg.cli.decommission_associations import (
    AssociationChanger,
    find_associations,
    require_associations,
    stopped_scan,
)
from asyncgg.cli.decommission_plan import PLAN_COLUMNS, plan_document, plan_lines, plan_rows
from asyncgg.cli.decommission_source import DeviceSource
from asyncgg.cli.decommission_stage import StageRunner
from asyncgg.cli.options import extract_settings
from asyncgg.cli.sources import ScanIncompleteError
from asyncgg.cli.supervisor import run_async
from asyncgg.decommission.guards import GuardOptions
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import Stage
from asyncgg.decommission.options import DecommissionOptions
from asyncgg.decommission.quotas import parse_quotas
from asyncgg.decommission.report import devices_of_stage, exit_code_of, format_summary_lines, needs_resume, summarize
from asyncgg.decommission.shadows import ShadowArchive, ShadowOptions
from asyncgg.decommission.stages import DEVICE, StageRun
from asyncgg.engine import RunResult
from asyncgg.errors import GuardError, UsageError
from asyncgg.formatting import format_duration
from asyncgg.manifest import load_protect_list
from asyncgg.models import RunState
from asyncgg.runs import exit_code, verify_account
from asyncgg.runs.connection import restore_settings
from asyncgg.runs.prepare import default_stem
from asyncgg.settings import OUTPUT_SETTINGS
from asyncgg.tables import require_table_format, write_table
from asyncgg.transport import Endpoint

_MAX_AGE_OF_ANSWERS: Final = 86_400.0
"""Seconds for which the answers about a device count before it is changed."""


@dataclass(slots=True)
class DecommissionSession:
    """One command that works on a journal. `arguments` are those of the command line."""

    context: CommandContext
    options: DecommissionOptions
    arguments: Mapping[str, Any]
    _runner: StageRunner

    @classmethod
    def create(cls, context: CommandContext, options: DecommissionOptions, arguments: Mapping[str, Any]) -> Self:
        """Raises `UsageError` for an unknown operation of --iot-quota."""
        parse_quotas(options.iot_quota)
        return cls(context, options, arguments, StageRunner(context, options))

    @classmethod
    @contextmanager
    def open(cls, path: Path, arguments: Mapping[str, Any]) -> Iterator[tuple[Self, DecommissionJournal]]:
        """The session of an existing journal: settings and Region are those of its start.

        Raises `GuardError` if account, Region or endpoint differ from those of its start.
        """
        with DecommissionJournal(path) as book:
            meta, overrides = book.meta(), extract_settings(arguments)
            # Not the endpoint: AWS_ENDPOINT_URL is also that of AWS IoT, an explicit one is not.
            settings = restore_settings(
                json.loads(meta.get("settings", "{}")), {"region": meta.get("region", "")}, overrides
            )
            options = DecommissionOptions.from_json(meta.get("options", "{}")).override(arguments)
            session = cls.create(CommandContext.create(settings, arguments), options, arguments)
            endpoint = session.context.resolve_endpoint()
            actual = {"account": session._account(endpoint), "region": endpoint.region, "endpoint": endpoint.url}
            for name, value in actual.items():
                if value != meta.get(name, ""):
                    raise GuardError(
                        f"{path} is of {name} {meta.get(name) or '?'}, not {value or '?'}; nothing was sent"
                    )
            yield session, book

    # --- commands ---

    def start(self, source: DeviceSource, *, is_plan: bool, rows: Path | None) -> int:
        """Ask about the devices; then quarantine them, unless this is a plan. `rows`: the table of the plan."""
        if rows is not None:
            require_table_format(rows)
        if not (is_plan or self._yes):
            require_terminal(stdin_in_use=source.reads_stdin)

        @cache
        def connect() -> tuple[Endpoint, str]:
            endpoint = self.context.resolve_endpoint()
            return endpoint, self._account(endpoint)

        targets = source.read(self.context, connect)
        limit = self.context.settings.max_things
        if limit is not None and len(targets.names) > limit:
            raise GuardError(f"{len(targets.names):,} devices, but --max-things allows {limit:,}; nothing was sent")
        endpoint, account = connect()
        with ExitStack() as stack:
            journal = self.context.settings.journal
            if is_plan and journal is None:
                journal = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "plan.journal"
            book = stack.enter_context(
                DecommissionJournal.create(
                    journal or Path(f"{default_stem('decommission')}.journal"),
                    targets.names,
                    account=account,
                    region=endpoint.region,
                    endpoint=endpoint.url,
                    stage=Stage.QUARANTINE,
                    source=targets.source,
                    created=repr(time.time()),
                    asked_at=repr(time.time()),
                    is_plan=int(is_plan),
                    options=self.options.to_json(),
                    settings=json.dumps(
                        self.context.settings.model_dump(mode="json", exclude={"journal", "deadline", *OUTPUT_SETTINGS})
                    ),
                )
            )
            return self._plan(book, rows) if is_plan else self._quarantine(book, stdin_in_use=source.reads_stdin)

    def release(self, book: DecommissionJournal) -> int:
        """Undo the quarantine of a journal."""
        if _stage(book) is Stage.DELETE and needs_resume(summarize(book, Stage.DELETE)["devices"]):
            raise UsageError(
                f"{book.path}: its deletion is not finished; resume it first, then release what it refused"
            )
        names = devices_of_stage(book, Stage.RELEASE)
        if not names:
            raise UsageError(f"{book.path}: no quarantined devices, so there is nothing to release")
        require_associations(book, names)
        self._confirm(len(names), "release them")
        run_async(book.clear_refusals(Stage.RELEASE))
        return self._release(book, names)

    def delete(self, book: DecommissionJournal, *, min_age: float) -> int:
        """Delete the devices of a finished quarantine. Raises `GuardError` if it is younger than `min_age` seconds."""
        path = book.path
        if _stage(book) is Stage.RELEASE:
            raise UsageError(f"{path}: its devices were released; quarantine them again first")
        finished_at = book.meta().get("quarantined_at")
        if finished_at is None or needs_resume(summarize(book, Stage.QUARANTINE)["devices"]):
            raise UsageError(f"{path}: its quarantine is not finished; resume it first")
        if (age := time.time() - float(finished_at)) < min_age:
            raise GuardError(
                f"{path}: the quarantine ended {format_duration(max(age, 0.0))} ago, --min-age requires"
                f" {format_duration(min_age)}; nothing was sent"
            )
        if self.options.delete_shadows and self.options.skip_shadows:
            raise UsageError("shadows are saved before they are deleted: give --delete-shadows or --skip-shadows")
        # Of this command: the settings of the journal have that of the quarantine.
        if self._yes and self.arguments["expect_account"] is None:
            raise UsageError("delete cannot be undone: --yes also requires --expect-account ID; nothing was sent")
        names, account = devices_of_stage(book, Stage.DELETE), book.meta()["account"]
        self._confirm(len(names), "delete them permanently")
        if names and account and not self._yes:
            self.context.console.confirm_count(account, "delete them in this account", stdin_in_use=False)
        run_async(book.put_meta(stage=Stage.DELETE, options=self.options.to_json()))
        return self._delete(book, names)

    def resume(self, book: DecommissionJournal) -> int:
        """Continue the stage of a journal."""
        if book.meta().get("is_plan") == "1":
            raise UsageError(f"{book.path} is a plan, nothing was changed; start with asyncgg decommission quarantine")
        match _stage(book):
            case Stage.QUARANTINE:
                return self._quarantine(book)
            case Stage.RELEASE:
                return self._release(book, devices_of_stage(book, Stage.RELEASE))
            case _:
                return self._delete(book, devices_of_stage(book, Stage.DELETE))

    # --- stages ---

    def _plan(self, book: DecommissionJournal, rows: Path | None) -> int:
        options = self._guard_options(book)
        run = self._runner.run(book, Stage.QUARANTINE, lambda run: run.collect(options))
        if not run.reason:
            facts = book.devices()
            found = find_associations(self._runner.remaining_context, [name for name in facts if facts[name].exists])
            run_async(book.put_facts(*(replace(facts[name], cores=cores) for name, cores in found.items())))
        quotas = self._runner.quotas
        document = plan_document(book, quotas, reason=run.reason)
        if rows is not None:
            write_table(rows, PLAN_COLUMNS, plan_rows(book), book.path)
        self.context.console.write_result(document, plan_lines(document, quotas), always_print=True)
        if run.reason:
            return exit_code(RunResult(RunState(run.state), run.reason))
        self._runner.check_fleet_share(document["devices"]["total"] - document["devices"]["refused"])
        return 3 if document["devices"]["refused"] else 0

    def _quarantine(self, book: DecommissionJournal, *, stdin_in_use: bool = False) -> int:
        stage, options, before = Stage.QUARANTINE, self._guard_options(book), summarize(book, Stage.QUARANTINE)
        if time.time() - float(book.meta().get("asked_at", "0")) > _MAX_AGE_OF_ANSWERS:
            run_async(book.forget_unchanged(stage))
            run_async(book.put_meta(asked_at=repr(time.time())))
        run = self._runner.run(book, stage, lambda run: run.collect(options))
        if run.reason:
            return self._finish(book, stage, run)
        allowed = book.allowed(stage, book.names())
        if not book.meta().get("confirmed"):
            quotas = self._runner.quotas
            if not self.context.console.quiet:
                document = plan_document(book, quotas)
                self.context.console.log_event({"event": "plan", **document}, *plan_lines(document, quotas))
            self._runner.check_fleet_share(len(allowed))
            self._confirm(len(allowed), "quarantine them", stdin_in_use=stdin_in_use)
            run_async(book.put_meta(confirmed=1))
        run, stopped = self._switch(book, stage, allowed, options.allow_shared)
        was_finished = before["quarantined_at"] and not needs_resume(before["devices"])
        if not (run.reason or was_finished or summarize(book, stage)["devices"]["pending"]):
            run_async(book.put_meta(quarantined_at=repr(time.time())))
        return self._finish(book, stage, run, stopped)

    def _release(self, book: DecommissionJournal, names: Sequence[str]) -> int:
        run_async(book.put_meta(stage=Stage.RELEASE))
        run, stopped = self._switch(book, Stage.RELEASE, names)
        return self._finish(book, Stage.RELEASE, run, stopped)

    def _switch(
        self, book: DecommissionJournal, stage: Stage, names: Sequence[str], allow_shared: Collection[str] = ()
    ) -> tuple[StageRun, RunResult | None]:
        """Switch the certificates of devices, then change their associations; how the latter stopped early, if so."""
        run = self._runner.run(book, stage, lambda run: run.switch(names, allow_shared))
        if run.reason:
            return run, None
        return run, AssociationChanger(self._runner.remaining_context, self.arguments, book, stage).run()

    def _delete(self, book: DecommissionJournal, names: Sequence[str]) -> int:
        stage, options, steps = Stage.DELETE, self._guard_options(book), book.steps()
        pending = [name for name in names if not steps.is_done(stage, name, DEVICE)]
        try:
            associated = {
                name for name, cores in find_associations(self._runner.remaining_context, pending).items() if cores
            }
        except ScanIncompleteError as error:
            return self._finish(book, stage, None, stopped_scan(error))
        # With the shadows already: an endpoint that is not known ends the command before the questions.
        run = self._runner.run(
            book, stage, lambda run: run.check_again(pending, options, associated), with_shadows=True
        )
        if not run.reason:
            allowed = book.allowed(stage, pending)
            run = self._runner.run(book, stage, partial(self._delete_devices, book, allowed), with_shadows=True)
        return self._finish(book, stage, run)

    async def _delete_devices(self, book: DecommissionJournal, names: Sequence[str], run: StageRun) -> None:
        shadows = None
        if run.plane.shadows is not None:
            shadows = ShadowOptions(run.plane.shadows, ShadowArchive(book.path), self.options.delete_shadows)
        await run.delete(names, delete_certificates=self.options.delete_certificates, shadows=shadows)

    # --- guards and output ---

    @property
    def _yes(self) -> bool:
        return bool(self.arguments.get("yes"))  # a plan asks nothing

    def _account(self, endpoint: Endpoint) -> str:
        identity, _ = run_async(verify_account(endpoint, self.context.settings))
        return identity.account if identity else ""

    def _guard_options(self, book: DecommissionJournal) -> GuardOptions:
        protect = self.context.settings.protect
        protect_list = load_protect_list(str(protect)) if protect else None
        return GuardOptions(
            account=book.meta()["account"],
            now=time.time(),
            connected_within=self.options.connected_within,
            allow_unknown_connectivity=self.options.allow_unknown_connectivity,
            allow_shared=frozenset(self.options.allow_shared),
            is_protected=lambda name: protect_list is not None and protect_list.match("", name) is not None,
        )

    def _confirm(self, count: int, action: str, *, stdin_in_use: bool = False) -> None:
        if count and not self._yes:
            require_terminal(stdin_in_use=stdin_in_use)
            self.context.console.confirm_count(count, action, stdin_in_use=stdin_in_use)

    def _finish(
        self, book: DecommissionJournal, stage: Stage, run: StageRun | None, stopped: RunResult | None = None
    ) -> int:
        """Write the result. `stopped`: the end of a scan or run of associations that stopped early."""
        end = stopped or run
        reason, state = (end.reason, end.state) if end else ("", "")
        summary = summarize(book, stage, reason=reason, state=state)
        self.context.console.write_result(summary, format_summary_lines(summary), always_print=True)
        return exit_code(stopped) if stopped else exit_code_of(summary)


def _stage(book: DecommissionJournal) -> Stage:
    return Stage(book.meta()["stage"])
