"""Rule: plan, confirm, run, whatever is to be done. Until the first request is sent, nothing made for it is left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from asyncgg.cli import confirm
from asyncgg.cli.account import attach_account
from asyncgg.cli.console import Console
from asyncgg.cli.plan_view import format_plan, plan_to_dict
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.supervisor import NotStartedError, run_journal
from asyncgg.engine import RunResult
from asyncgg.errors import AsyncggError
from asyncgg.models import Summary
from asyncgg.runs import JournalBuilder, Plan, RunMode
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint

__all__ = ["RunRequest", "plan_confirm_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """Something to be planned, confirmed and run."""

    resolve_endpoint: Callable[[], Endpoint]
    """Where requests will go."""
    prepare: Callable[[Endpoint], tuple[JournalBuilder, Plan]]
    """Makes the journal."""
    yes: bool = False
    dry_run: bool = False
    stdin_in_use: bool = False
    """Whether standard input is read for it, so that a person must be asked elsewhere."""
    recorded_account: str = ""
    """The account it must be, if that is known."""


def plan_confirm_run(request: RunRequest, settings: Settings, console: Console) -> tuple[RunResult, Summary] | None:
    """Do it; None after a dry run.

    Raises an `AsyncggError`, or KeyboardInterrupt. When it says that nothing was sent there is no journal either; an
    error in the midst of the run leaves a resumable one.
    """
    started = False

    def mark_started() -> None:
        nonlocal started
        started = True

    try:
        return _plan_confirm_run(request, settings, console, mark_started)
    except AsyncggError as error:
        if not started and "nothing was sent" not in str(error):
            error.add_note("nothing was sent")
        raise
    except KeyboardInterrupt:
        if not started:
            raise NotStartedError("interrupted; nothing was sent") from None
        raise


def _plan_confirm_run(
    request: RunRequest, settings: Settings, console: Console, on_start: Callable[[], None]
) -> tuple[RunResult, Summary] | None:
    if not (request.yes or request.dry_run):
        confirm.require_terminal(stdin_in_use=request.stdin_in_use)
    with contextlib.ExitStack() as discard_unless_started, raise_on_signal():
        endpoint = request.resolve_endpoint()
        preparation, plan = request.prepare(endpoint)
        discard_unless_started.callback(preparation.discard)
        plan, account = attach_account(
            plan, endpoint, settings, required=not request.dry_run, recorded_account=request.recorded_account
        )
        if not (console.quiet and request.yes):
            console.log_event({"event": "plan", **plan_to_dict(plan)}, *format_plan(plan))
        if request.dry_run:
            if console.as_json:
                console.write_result(plan_to_dict(plan), [])
            console.log_event({"event": "dry-run"}, "dry run: nothing was sent")
            return None
        if not request.yes:
            confirm.confirm_count(console, plan.things, f"{plan.operation} them", stdin_in_use=request.stdin_in_use)

        def start() -> None:
            discard_unless_started.pop_all()
            on_start()

        return run_journal(
            preparation.path,
            settings,
            console,
            mode=RunMode.RESUME,
            region=endpoint.region,
            account=account,
            on_start=start,
        )
