"""Rate limiting: the token bucket, the rate policies that set its rate, and the quotas of AWS."""

from asyncgg.ratelimit.adaptive import AdaptiveParameters, AdaptiveRate
from asyncgg.ratelimit.bucket import BucketStatistics, TokenBucket
from asyncgg.ratelimit.limiter import Limiter, RatePolicy, RateStatistics
from asyncgg.ratelimit.quota import (
    DOCUMENTED_QUOTA,
    QUOTA_CODE,
    default_burst,
    documented_quota,
    expected_rate,
    limits_for_share,
)
from asyncgg.ratelimit.ramp import Ramp, RampPlan

__all__ = [
    "DOCUMENTED_QUOTA",
    "QUOTA_CODE",
    "AdaptiveParameters",
    "AdaptiveRate",
    "BucketStatistics",
    "Limiter",
    "Ramp",
    "RampPlan",
    "RatePolicy",
    "RateStatistics",
    "TokenBucket",
    "default_burst",
    "documented_quota",
    "expected_rate",
    "limits_for_share",
]
