"""Rule: what a run will do, said before it does it: figures and the arithmetic of the quota; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from asyncgg.manifest import BadRow
from asyncgg.model import Operation
from asyncgg.ratelimit import default_burst, documented_quota
from asyncgg.settings import Settings
from asyncgg.transport import Target

__all__ = ["Plan", "quota_rate", "seconds_at_quota"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done."""

    source: str
    """Where the associations come from."""
    operation: Operation
    things: int
    cores: int
    requests: int
    """The fewest: the sum over the cores of ceil(n / 100)."""
    largest_core: int
    """Things of the core that has most."""
    rejected: int
    duplicates: int
    protected: int
    bad_rows: tuple[BadRow, ...]
    """The first of the rejected rows."""
    rate: float
    burst: float
    concurrency: int
    per_core: int
    seconds: float
    """Expected, by the quota's arithmetic."""
    target: Target | None = None
    """Where requests would go; None when no Region is known."""
    account: str = ""
    arn: str = ""
    account_unknown: str = ""
    """Why the account is not known."""
    origin: str = "manifest"
    """What `source` is, for a person."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Things that were looked at and are not to be touched, by the reason in a word or two."""


def quota_rate(settings: Settings, region: str | None) -> float:
    """The most requests per second a run may send: --rate, or the Region's documented quota times --quota-share."""
    if settings.rate is not None:
        return settings.rate
    return documented_quota(region or "") * settings.quota_share


def quota_burst(settings: Settings, rate: float) -> float:
    """How many requests may start at once."""
    return default_burst(rate) if settings.burst is None else settings.burst


def seconds_at_quota(requests: int, rate: float, burst: float) -> float:
    """Seconds until the last of `requests` requests may start, when nothing else takes part of the quota."""
    return max(0.0, (requests - burst) / rate)
