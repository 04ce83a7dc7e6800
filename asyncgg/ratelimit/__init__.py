"""Rule: everything that decides when a request may start lives here, mechanism apart from policy."""

from asyncgg.ratelimit.bucket import BucketStatistics, TokenBucket
from asyncgg.ratelimit.policy import AdaptiveRate, FixedRate, RatePolicy, default_burst, documented_quota

__all__ = [
    "AdaptiveRate",
    "BucketStatistics",
    "FixedRate",
    "RatePolicy",
    "TokenBucket",
    "default_burst",
    "documented_quota",
]
