"""The interface of what runs lanes: this process, or a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from asyncgg.engine import StopReason
from asyncgg.events import Progress
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.results import LaneResult


class LaneExecutor(AbstractAsyncContextManager["LaneExecutor"], Protocol):
    """Decides where a lane runs. `CampaignRun` decides when, and what its result means for the others.

    It is entered before the first lane and left after the last one.
    """

    async def run_lane(self, lane: CampaignLane) -> LaneResult:
        """Run the lane to its end. Raises what ended it; cancellation leaves a resumable journal."""

    def stop(self, reason: StopReason) -> None:
        """Send no more requests in any lane, and wait for those in flight. `CampaignRun` starts no more lanes."""

    def progress(self) -> Mapping[str, Progress]:
        """The progress of the lanes that are running, by name."""
