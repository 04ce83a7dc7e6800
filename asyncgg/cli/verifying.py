"""Rule: one start of a verification as the command line does it: account, loop, signals, display, how it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asyncgg.cli.console import Console
from asyncgg.cli.log_events import Notice
from asyncgg.cli.options import extract_settings
from asyncgg.cli.progress import ProgressDisplay
from asyncgg.cli.scan import SCAN_VIEW
from asyncgg.cli.signals import raise_on_signal, stop_on_signal
from asyncgg.cli.supervisor import NotStartedError, run_async
from asyncgg.engine import StopReason
from asyncgg.models import RunState
from asyncgg.runs import verify_account
from asyncgg.runs.execute import connection_from_settings
from asyncgg.runs.verifier import Verifier, VerifyContext, load_context, verify_with_context
from asyncgg.runs.verify_report import Verification, format_verification, verification_to_dict

__all__ = ["verify"]


def verify(journal: Path, arguments: Mapping[str, Any], **options: Any) -> int:
    """Verify `journal`, telling it; the exit code. `how` as for `verify_journal`."""
    with raise_on_signal():
        origins = load_context(journal, extract_settings(arguments))
        settings = origins.settings
        console = Console(as_json=bool(arguments["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")
        verification = run_async(_Start(origins, ProgressDisplay(console, view=SCAN_VIEW)).run(options))
    lines = format_verification(verification)
    if options.get("failures") is not None:
        lines.append(f"  left       {options['failures']}")
    if console.as_json and not console.quiet:
        console.print(*lines)
    console.write_result(verification_to_dict(verification), lines)
    return verification.exit_code


class _Start:
    """One start, shown and stoppable by signals."""

    def __init__(self, origins: VerifyContext, display: ProgressDisplay) -> None:
        self._origins = origins
        self._display = display
        self._verifier: Verifier | None = None

    async def run(self, how: Mapping[str, Any]) -> Verification:
        """Verify. Raises `NotStartedError` or KeyboardInterrupt when a signal cut it off."""
        task = asyncio.create_task(self._verify(how), name="asyncgg-verify")
        async with self._display.running():
            with stop_on_signal(lambda reason: self._stop(task, reason), task.cancel):
                await asyncio.wait((task,))
                self._display.refresh_final()
        if not task.cancelled():
            return task.result()
        if self._verifier is None:
            raise NotStartedError("interrupted; nothing was sent")
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
            on_scan=self._display.watch,
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
