"""Rule: which rate policy comes of which settings."""

from __future__ import annotations

import pytest

from asyncgg.runs.pace import rate_policy
from asyncgg.runs.plan import quota_rate
from asyncgg.settings import load_settings


@pytest.mark.parametrize(
    ("given", "expected", "begun", "ceiling"),
    [
        ({}, 30, 30, 300),
        ({"quota": 12}, 12, 12, 120),
        ({"rate": 20}, 20, 20, 20),
        ({"rate": 200}, 200, 30, 200),
        ({"rate": 200, "quota": 150}, 200, 150, 200),
        ({"quota_share": 0.5}, 15, 14.6, 14.6),
        ({"quota_share": 0.5, "quota": 100}, 50, 49.6, 49.6),
        ({"quota_share": 0.5, "rate": 40}, 15, 14.6, 14.6),
        ({"quota_share": 0.5, "rate": 10}, 10, 9.6, 9.6),
        ({"quota_share": 0.5, "burst": 500}, 15, 12, 12),
    ],
)
def test_settings_become_a_policy(given: dict[str, float], expected: float, begun: float, ceiling: float) -> None:
    """What the plan counts on, where the policy begins, and what it never exceeds."""
    settings = load_settings(given)
    policy = rate_policy(settings, "eu-central-1")
    assert quota_rate(settings, "eu-central-1") == expected
    assert policy.rate == pytest.approx(begun)
    assert policy.statistics().ceiling == pytest.approx(ceiling)


@pytest.mark.parametrize("given", [{"quota_share": 0.5}, {"quota_share": 0.1, "burst": 40}, {"quota_share": 1 / 60}])
def test_a_share_is_kept_in_every_window_of_five_seconds(given: dict[str, float]) -> None:
    """The most a token bucket lets start in five seconds is the share of five seconds' quota."""
    settings = load_settings(given)
    policy = rate_policy(settings, "eu-central-1")
    most = 5 * policy.statistics().ceiling + policy.burst
    assert most <= max(1.25, 5 * 30 * settings.quota_share) + 1e-9
