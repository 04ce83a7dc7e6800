"""Rule: what is known beforehand about the service's quota lives here, with its source, and what follows for the burst.

The quota is documented; the burst the service allows on top of it is not, so ours is small on purpose.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DOCUMENTED_QUOTA", "SHARE_WINDOW", "default_burst", "documented_quota", "limits_for_share"]

DOCUMENTED_QUOTA: Final = 30.0
"""Control-plane requests a second of one account in one Region, all operations together, not adjustable
[AWS General Reference, AWS IoT Greengrass V2 endpoints and quotas]."""

_REDUCED_QUOTA: Final = 10.0
"""The same in China (Beijing) and the AWS GovCloud Regions [ibid.]."""

_TIMER_SLACK: Final = 0.02
"""Seconds by which a busy event loop may be late without costing throughput."""

SHARE_WINDOW: Final = 5.0
"""Seconds: in no window of this length a share of the quota is overstepped, the burst included."""


def documented_quota(region: str) -> float:
    """Requests a second that AWS documents for the control plane of Greengrass V2 in this Region.

    10 in China (Beijing), `cn-north-1`, and in AWS GovCloud, `us-gov-...`; 30 elsewhere, unknown names included
    [AWS General Reference, AWS IoT Greengrass V2 endpoints and quotas].
    """
    if region == "cn-north-1" or region.startswith("us-gov-"):
        return _REDUCED_QUOTA
    return DOCUMENTED_QUOTA


def default_burst(rate: float) -> float:
    """Most requests to start at once at this rate when nothing better is known: 2, or more above 50/s.

    One is needed to start at all; what is on top makes up for timers that fire late, 20 ms of them. More would only
    gain fractions of a second once, and cost throttles: a service of the same rate with a burst of 5, and 30 ms of
    jitter each way, takes 2 + 0.06 s x rate, but not more, up to 50/s.
    """
    return 1 + max(1.0, rate * _TIMER_SLACK)


def limits_for_share(rate: float, burst: float | None = None) -> tuple[float, float]:
    """The rate and burst at which no window of `SHARE_WINDOW` seconds holds more than `rate` requests a second.

    A burst that would take more than a second's worth of the share is cut to that, and no burst is below 1. A share
    below 0.4 requests a second is so small that a single request oversteps it; then half of it is the rate.
    """
    max_burst = max(1.0, rate)
    burst = min(default_burst(rate) if burst is None else burst, max_burst)
    return max(rate - burst / SHARE_WINDOW, rate / 2), burst
