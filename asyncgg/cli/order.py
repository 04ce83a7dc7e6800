"""Rule: plan, confirm, run. Until the first request is sent, nothing that was made for it is left behind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from asyncgg.cli import confirm
from asyncgg.cli.account import with_account
from asyncgg.cli.importing import import_manifest
from asyncgg.cli.output import Output
from asyncgg.cli.planning import plan_lines, plan_object
from asyncgg.cli.running import NotBegunError, run_journal
from asyncgg.cli.signals import interrupting
from asyncgg.engine import Result
from asyncgg.errors import AsyncggError
from asyncgg.model import Summary
from asyncgg.runs import Mode, default_journal
from asyncgg.runs.execute import connection_of
from asyncgg.settings import Settings
from asyncgg.transport import resolve

__all__ = ["Order", "disassociate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a person asked of `disassociate` beyond the settings."""

    manifest: str
    yes: bool = False
    dry_run: bool = False
    format: str | None = None
    rejects: Path | None = None
    stdin: BinaryIO | None = None
    """What `-` reads instead of standard input."""


def disassociate(order: Order, settings: Settings, output: Output) -> tuple[Result, Summary] | None:
    """Do it; None after a dry run.

    Raises an `AsyncggError`, or KeyboardInterrupt. When it says that nothing was sent there is no journal either; an
    error in the midst of the run leaves a resumable one.
    """
    begun = False

    def begin() -> None:
        nonlocal begun
        begun = True

    try:
        return _disassociate(order, settings, output, begin)
    except AsyncggError as error:
        if not begun and "nothing was sent" not in str(error):
            error.add_note("nothing was sent")
        raise
    except KeyboardInterrupt:
        if not begun:
            raise NotBegunError("interrupted; nothing was sent") from None
        raise


def _disassociate(
    order: Order, settings: Settings, output: Output, on_begin: Callable[[], None]
) -> tuple[Result, Summary] | None:
    stdin_is_taken = order.manifest == "-" and order.stdin is None
    if not (order.yes or order.dry_run):
        confirm.must_be_able_to_ask(stdin_is_taken=stdin_is_taken)
    with contextlib.ExitStack() as until_sent, interrupting():
        target = resolve(connection_of(settings))
        preparation, plan = import_manifest(
            order.manifest,
            settings.journal or default_journal(),
            settings,
            target,
            output,
            format=order.format,
            rejects=order.rejects,
            stdin=order.stdin,
        )
        until_sent.callback(preparation.discard)
        plan, account = with_account(plan, target, settings, must_act=not order.dry_run)
        if not (output.quiet and order.yes):
            output.tell({"event": "plan", **plan_object(plan)}, *plan_lines(plan))
        if order.dry_run:
            if output.as_json:
                output.result(plan_object(plan), [])
            output.tell({"event": "dry-run"}, "dry run: nothing was sent")
            return None
        if not order.yes:
            confirm.ask(output, plan.things, "disassociate them", stdin_is_taken=stdin_is_taken)

        def begin() -> None:
            until_sent.pop_all()
            on_begin()

        return run_journal(
            preparation.path,
            settings,
            output,
            mode=Mode.RESUME,
            region=target.region,
            account=account,
            on_begin=begin,
        )
