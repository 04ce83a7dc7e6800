"""The constant rate policy."""

from __future__ import annotations

import math

from asyncgg.ratelimit import default_burst
from asyncgg.testing import FixedRate


def test_fixed_rate_ignores_replies() -> None:
    """Neither throttles nor accepted requests change the rate."""
    policy = FixedRate(40)
    assert policy.on_throttled(0, 1, 5) == policy.on_accepted(1, 2) == policy.rate == 40
    assert policy.burst == default_burst(40)
    assert FixedRate(math.inf, burst=3).statistics().burst == 3
