"""The options and the result of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from asyncgg.classify import CodeTable
from asyncgg.models import RunState
from asyncgg.ratelimit import RampPlan
from asyncgg.retry_policy import RetryPolicy


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The options of a run; times in seconds."""

    concurrency: int = 64
    """Maximum requests in flight."""
    per_core: int = 4
    """Maximum requests in flight per core; the effect of parallel calls is undocumented."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    codes: CodeTable = field(default_factory=CodeTable)
    abort_at: float | None = None
    abort_after: int = 1
    deadline: float | None = None
    stall_timeout: float = 300.0
    """Time without an accepted request after which a throttled or unanswered run stops."""
    limit: int | None = None
    """Send only the first N pending things in this start: a canary. The others stay pending."""
    ramp: RampPlan | None = None
    """Things per minute, growing with success; None means no limit but the quota."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How one start of a run ended."""

    state: RunState
    reason: str = ""
    is_auth_error: bool = False
    """Whether credentials or permissions ended the run."""
    limit_reached: bool = False
    """Whether the run ended because `EngineOptions.limit` was reached."""
