"""Records each write before and after it is sent, and reads AWS where a write may have been sent."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from asyncgg.aws_calls.operation import AwsCallError
from asyncgg.decommission.control_plane import IotControlPlane
from asyncgg.decommission.guards import Refusal
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import DeviceStep, RefusalReason, StepState

_FIRST_DELAY: Final = 1.0
_MAX_WAIT: Final = 60.0
"""Seconds in all until a change must be visible."""


class DeviceRefusedError(Exception):
    """A device must not be changed any further; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class NotVisibleError(Exception):
    """A change was accepted but is not visible yet; `resume` looks again."""


class StepRecorder:
    """The writes of one stage of a journal."""

    def __init__(self, journal: DecommissionJournal, stage: str, plane: IotControlPlane) -> None:
        self.journal, self.stage, self.plane = journal, stage, plane
        self._steps = journal.steps()
        self._actions: defaultdict[str, list[str]] = defaultdict(list)
        for recorded_stage, subject, action in self._steps:
            if recorded_stage == stage:
                self._actions[subject].append(action)
        self.is_stopped = False
        """Whether no further device begins."""

    def step(self, subject: str, action: str, stage: str = "") -> DeviceStep | None:
        """The recorded step of this or another stage; None if nothing was sent."""
        return self._steps.get((stage or self.stage, subject, action))

    def earlier_actions(self, subject: str) -> list[str]:
        """The actions of this stage on a thing or certificate that an earlier start of it recorded."""
        return self._actions[subject]

    def is_done(self, subject: str, action: str, stage: str = "") -> bool:
        """Whether the step has an outcome."""
        return self._steps.is_done(stage or self.stage, subject, action)

    async def send(self, subject: str, action: str, write: Callable[[], Awaitable[str]]) -> str:
        """Record the intent and send the write; `finish` records the outcome. Returns the id of the request.

        Raises `AwsCallError`; whether the write was applied is unknown then.
        """
        step = DeviceStep(self.stage, subject, action, StepState.INTENT)
        await self._record(step)
        try:
            return await write()
        except AwsCallError as error:
            await self._record(replace(step, code=error.code or "unknown", message=str(error)))
            raise

    async def apply(self, subject: str, action: str, write: Callable[[], Awaitable[str]]) -> None:
        """Send a write whose response is its outcome. Raises as `send`."""
        await self.finish(subject, action, request_id=await self.send(subject, action, write))

    async def finish(self, subject: str, action: str, *, detail: str = "", request_id: str = "") -> None:
        """Record that AWS shows the result of a step."""
        await self._record(
            DeviceStep(self.stage, subject, action, StepState.DONE, request_id=request_id, detail=detail)
        )

    async def _record(self, step: DeviceStep) -> None:
        await self.journal.record(step)
        self._steps[step.stage, step.subject, step.action] = step


async def wait_until(question: Callable[[], Awaitable[bool]], first_delay: float = 0.0) -> None:
    """Ask until the answer is yes, with growing delays. Raises `NotVisibleError` after 60 seconds."""
    if first_delay:
        await asyncio.sleep(first_delay)
    waited, delay = first_delay, _FIRST_DELAY
    while not await question():
        if waited >= _MAX_WAIT:
            raise NotVisibleError(f"not visible after {_MAX_WAIT:g} s")
        await asyncio.sleep(delay)
        waited, delay = waited + delay, min(delay * 1.6, 10.0)


def refused(reason: RefusalReason, detail: str = "") -> DeviceRefusedError:
    """The error for a device that is refused now."""
    return DeviceRefusedError(Refusal(reason, detail))
