"""The plan of a run: counts, expected duration, and the rate policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from asyncgg.manifest import BadRow
from asyncgg.models import Operation
from asyncgg.ratelimit import (
    AdaptiveParameters,
    AdaptiveRate,
    default_burst,
    documented_quota,
    expected_rate,
    limits_for_share,
)
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint

_EXPLORE_AFTER: Final = 2.0
"""Seconds without a throttle at the quota before `--explore` raises the rate above it."""

_SHOWN_NAMES: Final = 3
"""How many names a plan shows as examples."""

_MAX_MULTIPLE: Final = 10.0
"""Upper limit of `--explore`, as a multiple of the quota."""


class MissingReason(Enum):
    """Why a requested name has no association. The values are keys of the plan in JSON."""

    NOT_FOUND = "not_found"
    """A thing that is not associated with any core."""
    UNKNOWN = "cores_unknown"
    """No such core device, or the core was deleted during the scan."""
    EMPTY = "cores_empty"
    """A core without client devices."""
    INCOMPLETE = "cores_incomplete"
    """A core that could not be listed, or only in part."""


@dataclass(frozen=True, slots=True)
class MissingNames:
    """The names that are missing for one reason."""

    count: int
    examples: tuple[str, ...]
    """Up to ten of them."""

    def __str__(self) -> str:
        shown = self.examples[:_SHOWN_NAMES]
        omitted = self.count - len(shown)
        return ", ".join(shown) + (f" and {omitted:,} more" if omitted else "")


@dataclass(frozen=True, slots=True)
class LookupResult:
    """The result of a lookup in a snapshot, apart from the associations."""

    inventory: str
    """Path of the snapshot."""
    taken_at: float
    """When the scan started, in seconds since 1970."""
    missing: Mapping[MissingReason, MissingNames]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do."""

    source: str
    """Where the associations come from."""
    operation: Operation
    things: int
    cores: int
    requests: int
    """The minimum: the sum of ceil(n / 100) over the cores."""
    largest_core: int
    """Things of the core with the most things."""
    rejected: int
    duplicates: int
    protected: int
    header_rows: int
    """Rows left out because they repeat the header."""
    bad_rows: tuple[BadRow, ...]
    """The first rejected rows."""
    rate: float
    burst: float
    concurrency: int
    per_core: int
    seconds: float
    """Expected duration: see `seconds_at_quota`."""
    target: Endpoint | None = None
    """Where requests go; None if the Region is unknown."""
    account: str = ""
    arn: str = ""
    account_unknown_reason: str = ""
    """Why the account is unknown."""
    source_label: str = "manifest"
    """What `source` is, in the text form of the plan."""
    excluded: Mapping[str, int] = field(default_factory=dict)
    """Number of things that an undo leaves unchanged, by `UndoDecision` value."""
    undoable: bool = False
    """Whether the run has proof of the associations before it, which undo needs."""
    snapshot_requests: int = 0
    """Requests, at least, that list the cores first. Part of `seconds`."""
    policy: str = ""
    """The policy of the run that an undo reverts: it selects the same things again."""
    lookup: LookupResult | None = None
    """The lookup, if the source names only things or cores."""


def quota_rate(settings: Settings, region: str | None) -> float:
    """Expected requests per second: `--rate` or the quota, limited by `--quota-share`."""
    return expected_rate(settings.rate, settings.quota, settings.quota_share, region or "")


def effective_quota(settings: Settings, region: str | None) -> float:
    """Requests per second of the account in the Region: `--quota`, or the documented quota."""
    return documented_quota(region or "") if settings.quota is None else settings.quota


def quota_burst(settings: Settings, rate: float) -> float:
    """Requests that can start at once."""
    return default_burst(rate) if settings.burst is None else settings.burst


def seconds_at_quota(requests: int, rate: float, burst: float) -> float:
    """Seconds until the last of `requests` can start, if nothing else uses the quota."""
    return max(0.0, (requests - burst) / rate)


def rate_policy(settings: Settings, region: str | None) -> AdaptiveRate:
    """The rate policy of a run.

    - `--quota-share` below 1: that share of the quota is the ceiling, in any window of five
      seconds. Throttles can lower the quota that the share refers to.
    - `--rate R`: the ceiling is R. The run starts at the quota if that is lower, and exactly at R if
      `--quota R` says that it is the quota.
    - `--rate auto`: the ceiling is the quota; with `--explore`, ten times the quota.
    """
    rate, quota = quota_rate(settings, region), effective_quota(settings, region)
    if settings.quota_share < 1:
        ceiling, burst = limits_for_share(rate, settings.burst)
        return AdaptiveRate(ceiling, documented=ceiling, burst=burst, share=settings.quota_share)
    if settings.rate is not None:
        exact = AdaptiveParameters(start_margin=0.0) if rate == settings.quota else None
        return AdaptiveRate(rate, documented=quota, burst=settings.burst, parameters=exact)
    ceiling = _MAX_MULTIPLE * quota if settings.explore else quota
    return AdaptiveRate(ceiling, documented=quota, burst=settings.burst, explore_after=_EXPLORE_AFTER)
