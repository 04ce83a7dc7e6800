"""Rule: which rate policy a run gets is decided here, from its settings alone; how the policy moves, in `ratelimit`."""

from __future__ import annotations

from typing import Final

from asyncgg.ratelimit import AdaptiveRate, limits_for_share
from asyncgg.runs.plan import effective_quota, quota_rate
from asyncgg.settings import Settings

__all__ = ["rate_policy"]

_PROBE_AFTER: Final = 2.0
"""Seconds that everything is accepted at the quota before `auto` looks whether there is more."""
_MAX_MULTIPLE: Final = 10.0
"""Times the quota; further `auto` does not rise, whatever is accepted."""


def rate_policy(settings: Settings, region: str | None) -> AdaptiveRate:
    """The rate policy of a run.

    - `--quota-share` below 1: that part of the quota is the ceiling, in any window of five seconds. Throttles may lower
      the quota it is a part of.
    - `--rate R`: R is the ceiling, begun at the quota if that is lower.
    - `--rate auto`: begun at the quota; it rises above it if the service goes on accepting, and when the service
      throttles at the quota after all, the quota is the ceiling.
    """
    rate, quota = quota_rate(settings, region), effective_quota(settings, region)
    if settings.quota_share < 1:
        ceiling, burst = limits_for_share(rate, settings.burst)
        return AdaptiveRate(ceiling, documented=ceiling, burst=burst, share=settings.quota_share)
    if settings.rate is not None:
        return AdaptiveRate(rate, documented=quota, burst=settings.burst)
    return AdaptiveRate(_MAX_MULTIPLE * quota, documented=quota, burst=settings.burst, probe_after=_PROBE_AFTER)
