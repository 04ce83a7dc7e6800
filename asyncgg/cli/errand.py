"""Rule: plan, confirm, run, whatever is to be done. Until the first request is sent, nothing made for it is left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from asyncgg.cli import confirm
from asyncgg.cli.account import with_account
from asyncgg.cli.output import Output
from asyncgg.cli.planning import plan_lines, plan_object
from asyncgg.cli.running import NotBegunError, run_journal
from asyncgg.cli.signals import interrupting
from asyncgg.engine import RunResult
from asyncgg.errors import AsyncggError
from asyncgg.model import Summary
from asyncgg.runs import JournalBuilder, Plan, RunMode
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint

__all__ = ["Errand", "carry_out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """Something to be planned, confirmed and run."""

    target: Callable[[], Endpoint]
    """Where requests will go."""
    prepare: Callable[[Endpoint], tuple[JournalBuilder, Plan]]
    """Makes the journal."""
    yes: bool = False
    dry_run: bool = False
    stdin_is_taken: bool = False
    """Whether standard input is read for it, so that a person must be asked elsewhere."""
    recorded: str = ""
    """The account it must be, if that is known."""


def carry_out(errand: Errand, settings: Settings, output: Output) -> tuple[RunResult, Summary] | None:
    """Do it; None after a dry run.

    Raises an `AsyncggError`, or KeyboardInterrupt. When it says that nothing was sent there is no journal either; an
    error in the midst of the run leaves a resumable one.
    """
    begun = False

    def begin() -> None:
        nonlocal begun
        begun = True

    try:
        return _carry_out(errand, settings, output, begin)
    except AsyncggError as error:
        if not begun and "nothing was sent" not in str(error):
            error.add_note("nothing was sent")
        raise
    except KeyboardInterrupt:
        if not begun:
            raise NotBegunError("interrupted; nothing was sent") from None
        raise


def _carry_out(
    errand: Errand, settings: Settings, output: Output, on_begin: Callable[[], None]
) -> tuple[RunResult, Summary] | None:
    if not (errand.yes or errand.dry_run):
        confirm.must_be_able_to_ask(stdin_is_taken=errand.stdin_is_taken)
    with contextlib.ExitStack() as until_sent, interrupting():
        target = errand.target()
        preparation, plan = errand.prepare(target)
        until_sent.callback(preparation.discard)
        plan, account = with_account(plan, target, settings, must_act=not errand.dry_run, recorded=errand.recorded)
        if not (output.quiet and errand.yes):
            output.tell({"event": "plan", **plan_object(plan)}, *plan_lines(plan))
        if errand.dry_run:
            if output.as_json:
                output.result(plan_object(plan), [])
            output.tell({"event": "dry-run"}, "dry run: nothing was sent")
            return None
        if not errand.yes:
            confirm.ask(output, plan.things, f"{plan.operation} them", stdin_is_taken=errand.stdin_is_taken)

        def begin() -> None:
            until_sent.pop_all()
            on_begin()

        return run_journal(
            preparation.path,
            settings,
            output,
            mode=RunMode.RESUME,
            region=target.region,
            account=account,
            on_begin=begin,
        )
