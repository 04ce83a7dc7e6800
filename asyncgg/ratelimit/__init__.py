"""Rule: everything that decides when a request may start lives here, mechanism apart from policy."""

from asyncgg.ratelimit.bucket import BucketStatistics, TokenBucket

__all__ = ["BucketStatistics", "TokenBucket"]
