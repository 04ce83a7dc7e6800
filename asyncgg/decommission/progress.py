"""How far a stage of a decommission is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncgg.aws_calls.operation import RateLimitedOperation


@dataclass(frozen=True, slots=True)
class StageProgress:
    """The progress of one part of a stage; times are seconds."""

    activity: str
    """What is done with each device."""
    total: int
    finished: int
    refused: int
    failed: int
    sent: int
    """Requests."""
    throttled: int
    seconds: float
    rate: float = 0.0
    """Each operation has a limit of its own."""
    status: str = ""

    @property
    def seconds_left(self) -> float | None:
        """The time of the remaining devices at the rate so far; None before the first one is finished."""
        return self.seconds * (self.total - self.finished) / self.finished if self.finished else None


class StageMeter:
    """Counts the devices of one part of a stage."""

    def __init__(self, operations: Mapping[str, RateLimitedOperation], clock: Callable[[], float]) -> None:
        self._operations, self._clock = operations, clock
        self.start("", 0)

    def start(self, activity: str, total: int) -> None:
        """Begin a part with this number of devices."""
        self._activity, self._total, self._started_at = activity, total, self._clock()
        self.finished = self.refused = self.failed = 0

    def progress(self, status: str = "") -> StageProgress:
        """The counts now."""
        operations = self._operations.values()
        return StageProgress(
            self._activity,
            self._total,
            self.finished,
            self.refused,
            self.failed,
            sum(operation.sent for operation in operations),
            sum(operation.throttled for operation in operations),
            self._clock() - self._started_at,
            status=status,
        )
