"""Rule: how an engine is told to behave, and how it says that it ended: values only."""

from __future__ import annotations

from dataclasses import dataclass, field

from asyncgg.classify import CodeTable
from asyncgg.models import RunState
from asyncgg.ratelimit import RampPlan
from asyncgg.retry_policy import RetryPolicy

__all__ = ["EngineOptions", "RunResult"]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a run is to behave; times in seconds."""

    concurrency: int = 64
    """Requests in flight at most."""
    per_core: int = 4
    """Of them, for one core: what parallel calls on one core do is documented nowhere."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    codes: CodeTable = field(default_factory=CodeTable)
    abort_at: float | None = None
    abort_after: int = 1
    deadline: float | None = None
    stall_timeout: float = 300.0
    """Without a single accepted request, before a throttled or unanswered run stops itself."""
    limit: int | None = None
    """Only so many things in this start, of those pending the first: a canary. The others wait for the next start."""
    ramp: RampPlan | None = None
    """Things a minute that grow with success; None for as many as the quota allows."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How one start of a run ended."""

    state: RunState
    reason: str = ""
    is_auth_error: bool = False
    """Whether credentials or permissions ended it."""
    limit_reached: bool = False
    """Whether it ended because only the first things were to go, and they have."""
