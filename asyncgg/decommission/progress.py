"""How far a stage of a decommission is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class StageProgress:
    """The progress of one part of a stage."""

    activity: str = ""
    """What is done with each device."""
    total: int = 0
    finished: int = 0
    refused: int = 0
    failed: int = 0
    sent: int = 0
    """Requests."""
    throttled: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    """Each operation has a limit of its own."""
    status: str = ""

    @property
    def seconds_left(self) -> float | None:
        """The time of the remaining devices at the rate so far; None before the first one is finished."""
        return self.seconds * (self.total - self.finished) / self.finished if self.finished else None
