"""Plans, confirms and runs the work of a command, and continues runs from their journals."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asyncgg.cli.console import require_terminal
from asyncgg.cli.context import CommandContext
from asyncgg.cli.notify import NotifyOnExit, finish_run
from asyncgg.cli.plan_view import format_missing, format_plan, plan_to_dict
from asyncgg.cli.restart import Restart
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.sources import LookupArguments, LookupSource, ScanIncompleteError, build_from_manifest, scan_before_run
from asyncgg.cli.state import find_unfinished, open_state
from asyncgg.cli.supervisor import NotStartedError, noting_nothing_sent, run_async, run_journal
from asyncgg.engine import RunResult
from asyncgg.errors import AsyncggError, GuardError, JournalError, UsageError
from asyncgg.manifest.sources import display_path
from asyncgg.models import Summary
from asyncgg.runs import JournalBuilder, Plan, RunMode, verify_account
from asyncgg.transport import CallerIdentity, Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """Work to plan, confirm and run."""

    resolve_endpoint: Callable[[], Endpoint]
    """Where requests go."""
    prepare: Callable[[Endpoint, Path | None], tuple[JournalBuilder, Plan]]
    """Creates the journal at the path, or under a default name."""
    journal: Path | None
    """The path for `prepare`, unless this is a dry run."""
    before_start: Callable[[JournalBuilder, Endpoint], None] = lambda builder, endpoint: None
    """Called after the confirmation."""
    yes: bool = False
    dry_run: bool = False
    prepare_sends: bool = True
    """Whether `prepare` sends requests, so that a missing terminal is reported before it."""
    stdin_in_use: bool = False
    """Whether standard input holds data, so that /dev/tty is needed for the confirmation."""
    recorded_account: str = ""
    """The account the work belongs to, if it is known."""


def plan_confirm_run(request: RunRequest, context: CommandContext) -> tuple[RunResult, Summary] | None:
    """Do the work; None after a dry run.

    Raises an `AsyncggError` or KeyboardInterrupt. Before the first request no journal is left;
    later the journal is resumable.
    """
    started = False

    def mark_started() -> None:
        nonlocal started
        started = True

    with noting_nothing_sent(lambda: started, but=(ScanIncompleteError,)):
        return _plan_confirm_run(request, context, mark_started)


def _plan_confirm_run(
    request: RunRequest, context: CommandContext, on_start: Callable[[], None]
) -> tuple[RunResult, Summary] | None:
    console = context.console
    if request.prepare_sends and not (request.yes or request.dry_run):
        require_terminal(stdin_in_use=request.stdin_in_use)
    with ExitStack() as discard_unless_started, raise_on_signal():
        endpoint = request.resolve_endpoint()
        journal = request.journal
        if request.dry_run:
            if journal is not None and journal.exists():
                raise JournalError(f"{journal} already exists; resume or retry it, or choose another --journal")
            folder = tempfile.TemporaryDirectory(prefix="asyncgg-dry-run-")
            journal = Path(discard_unless_started.enter_context(folder)) / "dry-run.journal"
        builder, plan = request.prepare(endpoint, journal)
        discard_unless_started.callback(builder.discard)
        if plan.things and not (request.yes or request.dry_run):
            require_terminal(stdin_in_use=request.stdin_in_use)
        plan, account = attach_account(
            plan, endpoint, context, required=not request.dry_run, recorded_account=request.recorded_account
        )
        if not (console.quiet and request.yes):
            console.log_event({"event": "plan", **plan_to_dict(plan)}, *format_plan(plan))
        if request.dry_run:
            if console.as_json:
                console.write_result(plan_to_dict(plan), [])
            console.log_event({"event": "dry-run"}, "dry run: nothing was sent")
            return None
        if plan.things and not request.yes:
            console.confirm_count(plan.things, f"{plan.operation} them", stdin_in_use=request.stdin_in_use)

        request.before_start(builder, endpoint)

        def start() -> None:
            discard_unless_started.pop_all()
            on_start()

        result, summary = run_journal(
            builder.path, context, mode=RunMode.RESUME, region=endpoint.region, account=account, on_start=start
        )
        return (result if plan.things else replace(result, reason="; ".join(format_missing(plan)))), summary


def attach_account(
    plan: Plan,
    endpoint: Endpoint | None,
    context: CommandContext,
    *,
    required: bool,
    unknown_reason: str = "",
    recorded_account: str = "",
) -> tuple[Plan, CallerIdentity | None]:
    """The plan with its account, and the account if it is known. Raises as `verify_account`.

    Without an `endpoint` AWS is not called: the account is unknown, for `unknown_reason`.
    """
    settings = context.settings
    if endpoint is None:
        if settings.expect_account is not None:
            raise GuardError(f"cannot check --expect-account {settings.expect_account}: {unknown_reason}")
        return replace(plan, account_unknown_reason=unknown_reason), None
    identity, reason = run_async(
        verify_account(endpoint, settings, expected_from_journal=recorded_account, required=required)
    )
    if identity is None:
        return replace(plan, account_unknown_reason=reason), None
    return replace(plan, account=identity.account, arn=identity.arn), identity


# --- disassociate ---


def disassociate(
    manifest: str, lookup: LookupArguments | None, context: CommandContext, **options: Any
) -> tuple[RunResult, Summary] | None:
    """Disassociate what the manifest lists or the lookup finds, as `plan_confirm_run`.

    `options` are `yes`, `dry_run`, `format` and `rejects` of the command line.
    """
    if lookup is not None:
        return _disassociate_lookup(lookup, context, options["yes"], options["dry_run"])

    def prepare(endpoint: Endpoint, journal: Path | None) -> tuple[JournalBuilder, Plan]:
        return build_from_manifest(
            manifest, journal, context, endpoint, format=options.get("format"), rejects=options.get("rejects")
        )

    request = RunRequest(
        resolve_endpoint=context.resolve_endpoint,
        prepare=prepare,
        journal=context.settings.journal,
        yes=options["yes"],
        dry_run=options.get("dry_run", False),
        prepare_sends=False,
        stdin_in_use=manifest == "-",
        before_start=lambda builder, endpoint: scan_before_run(builder, context, endpoint),
    )
    return plan_confirm_run(request, context)


def _disassociate_lookup(
    lookup: LookupArguments, context: CommandContext, yes: bool, dry_run: bool
) -> tuple[RunResult, Summary] | None:
    """The same for a lookup; the user gets a hint how to reuse a snapshot without a run."""
    source = LookupSource(lookup, context, account_required=not dry_run)
    request = RunRequest(
        resolve_endpoint=context.resolve_endpoint,
        prepare=source.prepare,
        journal=source.journal,
        yes=yes,
        dry_run=dry_run,
        stdin_in_use=lookup.reads_stdin,
    )
    try:
        outcome = plan_confirm_run(request, context)
    except NotStartedError as error:
        raise NotStartedError("; ".join(filter(None, (str(error), source.reuse_hint)))) from None
    except AsyncggError as error:
        if source.reuse_hint and not source.journal.exists():  # a run that has a journal is resumed instead
            error.add_note(source.reuse_hint)
        raise
    if outcome is None and source.reuse_hint:
        event = {"event": "snapshot-kept", "inventory": str(source.inventory)}
        context.console.log_event(event, source.reuse_hint)
    return outcome


def disassociate_in_state(
    manifest: str,
    lookup: LookupArguments | None,
    context: CommandContext,
    arguments: Mapping[str, Any],
    options: Mapping[str, Any],
    notifier: NotifyOnExit,
) -> int:
    """As `disassociate`, in the state of the settings: continues its unfinished run, else starts a new one.

    Returns the exit code.
    """
    if context.settings.journal is not None:
        raise UsageError("give either --state or --journal: the journal is in the state")
    with raise_on_signal(), ExitStack() as saved:
        state = saved.enter_context(open_state(context))
        assert state is not None
        source = display_path(manifest) if lookup is None else lookup.source
        if (unfinished := find_unfinished(state, source)) is not None:
            event = {"event": "continue", "state": state.location, "run": unfinished.name}
            context.console.log_event(event, f"continuing run {unfinished.name} of {state.location}")
            journal = unfinished.journal
            outcome = Restart.load(journal, RunMode.RESUME, arguments, state).run(yes=options["yes"])
        else:
            journal = state.create_run().journal
            settings = context.settings.model_copy(update={"journal": journal})
            new_outcome = disassociate(manifest, lookup, replace(context, settings=settings, state=state), **options)
            assert new_outcome is not None  # not a dry run
            outcome = new_outcome
        return finish_run(outcome, journal, saved, replace(context, state=state), notifier)
