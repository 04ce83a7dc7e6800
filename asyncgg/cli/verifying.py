"""Rule: one start of a verification as the command line does it: account, loop, signals, display, how it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asyncgg.cli.notices import Notice
from asyncgg.cli.options import given_settings
from asyncgg.cli.output import Output
from asyncgg.cli.progress import Display
from asyncgg.cli.running import NotBegunError, run_loop
from asyncgg.cli.signals import interrupting, stopping
from asyncgg.cli.sweeping import FORM
from asyncgg.engine import StopReason
from asyncgg.model import RunState
from asyncgg.runs import verify_account
from asyncgg.runs.execute import connection_from_settings
from asyncgg.runs.verification import Verification, format_verification, verification_to_dict
from asyncgg.runs.verifier import Verifier
from asyncgg.runs.verify_run import VerifyContext, load_context, verify_with_context

__all__ = ["verify"]


def verify(journal: Path, given: Mapping[str, Any], **how: Any) -> int:
    """Verify `journal`, telling it; the exit code. `how` as for `verify_journal`."""
    with interrupting():
        origins = load_context(journal, given_settings(given))
        settings = origins.settings
        output = Output(as_json=bool(given["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")
        done = run_loop(_Start(origins, Display(output, form=FORM)).run(how))
    lines = format_verification(done)
    if how.get("failures") is not None:
        lines.append(f"  left       {how['failures']}")
    if output.as_json and not output.quiet:
        output.say(*lines)
    output.result(verification_to_dict(done), lines)
    return done.exit_code


class _Start:
    """One start, shown and stoppable by signals."""

    def __init__(self, origins: VerifyContext, display: Display) -> None:
        self._origins = origins
        self._display = display
        self._verifier: Verifier | None = None

    async def run(self, how: Mapping[str, Any]) -> Verification:
        """Verify. Raises `NotBegunError` or KeyboardInterrupt when a signal cut it off."""
        task = asyncio.create_task(self._verify(how), name="asyncgg-verify")
        async with self._display.shown():
            with stopping(lambda reason: self._stop(task, reason), task.cancel):
                await asyncio.wait((task,))
                self._display.last_look()
        if not task.cancelled():
            return task.result()
        if self._verifier is None:
            raise NotBegunError("interrupted; nothing was sent")
        raise KeyboardInterrupt("cut off by a second signal")

    async def _verify(self, how: Mapping[str, Any]) -> Verification:
        of = self._origins
        account, _ = await verify_account(
            connection_from_settings(of.settings), of.target, of.settings, expected_from_journal=of.account
        )
        return await verify_with_context(
            of,
            account=account,
            on_start=self._begin,
            listeners=[self._display.listen],
            on_sweep=self._display.watch,
            **how,
        )

    def _begin(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def _stop(self, task: asyncio.Task[Any], reason: str) -> None:
        if self._verifier is None:
            task.cancel()
        else:
            self._verifier.stop(StopReason(RunState.INTERRUPTED, reason))
            self._display.notice(Notice("a second signal cuts off what is in flight", {"event": "hint"}))
