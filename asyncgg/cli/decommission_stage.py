"""Runs the parts of a stage of a decommission with a connection, a display and signal handling."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from asyncgg.cli.context import CommandContext
from asyncgg.cli.decommission_plan import STAGE_VIEW, IotQuotas, load_quotas
from asyncgg.cli.progress import ProgressDisplay
from asyncgg.cli.supervisor import Supervision, run_async, run_supervised
from asyncgg.decommission.control_plane import open_control_plane
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import Stage
from asyncgg.decommission.options import DecommissionOptions
from asyncgg.decommission.report import format_summary_lines, summarize
from asyncgg.decommission.stages import StageLimits, StageRun
from asyncgg.errors import AsyncggError, GuardError
from asyncgg.models import RunState


class StageRunner:
    """Runs what one command does with AWS IoT. Its deadline counts from its start."""

    def __init__(self, context: CommandContext, options: DecommissionOptions) -> None:
        self._context, self._options = context, options
        deadline = context.settings.deadline
        self._deadline_at = None if deadline is None else time.monotonic() + deadline
        self._quotas: IotQuotas | None = None

    @property
    def remaining_context(self) -> CommandContext:
        """The context of a scan or run within the stage, with the time that is left as its deadline."""
        if self._deadline_at is None:
            return self._context
        left = max(0.001, self._deadline_at - time.monotonic())
        return replace(self._context, settings=self._context.settings.model_copy(update={"deadline": left}))

    @property
    def quotas(self) -> IotQuotas:
        """The quotas, which are read once. Not within a running loop."""
        if self._quotas is None:
            region = self._context.resolve_endpoint().region
            self._quotas = load_quotas(self._context, self._options.iot_quota, region)
        return self._quotas

    def run(
        self,
        book: DecommissionJournal,
        stage: Stage,
        work: Callable[[StageRun], Coroutine[Any, Any, None]],
        *,
        with_shadows: bool = False,
    ) -> StageRun:
        """Do `work` with a connection. The first signal stops it gracefully, and so does the deadline.

        After an error the result so far is written, and the error raised.
        """
        settings = self._context.settings
        limits = StageLimits(canary=self._options.canary, abort_at=settings.abort_at, abort_after=settings.abort_after)
        display = ProgressDisplay(self._context.console, view=STAGE_VIEW)
        with_shadows = with_shadows and not self._options.skip_shadows
        connection, rates, is_started = self._context.connection, self.quotas.usable, False

        async def with_plane(supervision: Supervision) -> StageRun:
            nonlocal is_started
            async with open_control_plane(connection, rates, with_shadows=with_shadows) as plane:
                run = StageRun(book, stage, plane, limits)
                supervision.stop = run.stop
                display.watch(run)
                is_started = True
                loop, timer = asyncio.get_running_loop(), None
                if self._deadline_at is not None:
                    left = max(0.0, self._deadline_at - time.monotonic())
                    timer = loop.call_later(left, run.stop, "deadline reached", RunState.DEADLINE)
                try:
                    await work(run)
                finally:
                    if timer is not None:
                        timer.cancel()
                return run

        message = f"aborted by a second signal; resume checks what was possibly sent: {book.path}"
        try:
            return run_supervised(with_plane, display, abort_message=message)
        except AsyncggError as error:
            if is_started:
                summary = summarize(book, stage, reason=str(error), state=RunState.ABORTED)
                self._context.console.write_result(summary, format_summary_lines(summary))
            raise

    def check_fleet_share(self, count: int) -> None:
        """Raise `GuardError` if `count` devices are a larger share of all things than the options allow."""
        percent = self._options.max_percent
        if percent is None or not count:
            return
        rates = self.quotas.usable

        async def has_enough(minimum: int) -> bool:
            async with open_control_plane(self._context.connection, rates) as plane:
                return await plane.fleet_has(minimum)

        if not run_async(has_enough(-int(-count * 100 // percent))):
            raise GuardError(f"{count:,} devices are more than {percent:g} % of the fleet (--max-percent)")
