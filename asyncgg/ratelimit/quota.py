"""The documented quotas of AWS and the burst that follows from a rate."""

# The quota is documented, but not the burst that the service allows, so the default burst is small.

from __future__ import annotations

from typing import Final

DOCUMENTED_QUOTA: Final = 30.0
"""Control-plane requests per second of an account in a Region, for all operations together; not
adjustable [AWS General Reference, AWS IoT Greengrass V2 endpoints and quotas]."""

QUOTA_CODE: Final = "L-7A577824"
"""Probable code of this quota in Service Quotas, which AWS does not document."""

_REDUCED_QUOTA: Final = 10.0
"""The quota in China (Beijing) and the AWS GovCloud Regions [ibid.]."""

_TIMER_SLACK: Final = 0.02
"""Seconds by which timers can be late without a loss of throughput."""

SHARE_WINDOW: Final = 5.0
"""Seconds of the windows in which a share of the quota is not exceeded, bursts included."""


def documented_quota(region: str) -> float:
    """Requests per second that AWS documents for the control plane of Greengrass V2 in this Region.

    10 in China (Beijing), `cn-north-1`, and in AWS GovCloud, `us-gov-...`; 30 elsewhere, unknown
    names included [AWS General Reference, AWS IoT Greengrass V2 endpoints and quotas].
    """
    if region == "cn-north-1" or region.startswith("us-gov-"):
        return _REDUCED_QUOTA
    return DOCUMENTED_QUOTA


def expected_rate(rate: float | None, quota: float | None, share: float, region: str) -> float:
    """Requests per second at `rate` or else the quota, limited by a share of the quota; None is `auto`."""
    quota = documented_quota(region) if quota is None else quota
    if rate is None:
        return quota * share
    return rate if share == 1 else min(rate, quota * share)


def default_burst(rate: float) -> float:
    """The default burst at this rate: one token plus 20 ms worth of tokens for late timers.

    Below 50/s two requests never start at once, so limiters with windows or small bursts are not
    hit by a burst.
    """
    return 1 + rate * _TIMER_SLACK


def limits_for_share(rate: float, burst: float | None = None) -> tuple[float, float]:
    """Rate and burst that keep to `rate` in each window of `SHARE_WINDOW` seconds.

    The burst is at least 1 and at most one second's worth. A rate below 0.4 is exceeded by a single
    request; then half of it is used.
    """
    max_burst = max(1.0, rate)
    burst = min(default_burst(rate) if burst is None else burst, max_burst)
    return max(rate - burst / SHARE_WINDOW, rate / 2), burst
