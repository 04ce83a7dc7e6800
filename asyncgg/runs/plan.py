"""Rule: what a run will do, said before it does it: figures and the arithmetic of the quota; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from asyncgg.manifest import BadRow
from asyncgg.models import Operation
from asyncgg.ratelimit import default_burst, documented_quota
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint

__all__ = ["LookupResult", "MissingNames", "MissingReason", "Plan", "effective_quota", "quota_rate", "seconds_at_quota"]


class MissingReason(Enum):
    """Why a name that was asked for stands for no association; the values are the words of plans in JSON."""

    NOT_FOUND = "not_found"
    """A thing that is on no core."""
    UNKNOWN = "cores_unknown"
    """No such core device, or it vanished while it was to be listed."""
    EMPTY = "cores_empty"
    """A core without client devices."""
    INCOMPLETE = "cores_incomplete"
    """A core that was denied or failed: what it holds is not known, or only in part."""


@dataclass(frozen=True, slots=True)
class MissingNames:
    """Names that are absent for one reason."""

    count: int
    examples: tuple[str, ...]
    """Some of them, as many as a person reads."""


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What a look-up in a snapshot of the fleet said beyond the associations it found."""

    inventory: str
    """The snapshot's path."""
    taken_at: float
    """Seconds since 1970, UTC, when its sweep began."""
    missing: Mapping[MissingReason, MissingNames]


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
    target: Endpoint | None = None
    """Where requests would go; None when no Region is known."""
    account: str = ""
    arn: str = ""
    account_unknown_reason: str = ""
    """Why the account is not known."""
    source_label: str = "manifest"
    """What `source` is, for a person."""
    excluded: Mapping[str, int] = field(default_factory=dict)
    """Things that were looked at and are not to be touched, by the reason in a word or two."""
    lookup: LookupResult | None = None
    """Where things or cores were looked up, when the source names only these."""


def quota_rate(settings: Settings, region: str | None) -> float:
    """The requests per second a run is expected to send: --rate, or the quota; and no more than --quota-share of it."""
    quota = effective_quota(settings, region)
    if settings.rate is None:
        return quota * settings.quota_share
    return settings.rate if settings.quota_share == 1 else min(settings.rate, quota * settings.quota_share)


def effective_quota(settings: Settings, region: str | None) -> float:
    """Requests per second of the account in the Region: --quota, or what is documented."""
    return documented_quota(region or "") if settings.quota is None else settings.quota


def quota_burst(settings: Settings, rate: float) -> float:
    """How many requests may start at once."""
    return default_burst(rate) if settings.burst is None else settings.burst


def seconds_at_quota(requests: int, rate: float, burst: float) -> float:
    """Seconds until the last of `requests` requests may start, when nothing else takes part of the quota."""
    return max(0.0, (requests - burst) / rate)
