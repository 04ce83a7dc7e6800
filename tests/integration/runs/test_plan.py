"""Tests of the rate policy of a run."""

from __future__ import annotations

import pytest

from asyncgg.runs.plan import quota_rate, rate_policy
from asyncgg.settings import load_settings


@pytest.fixture(autouse=True)
def no_quota(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented quota applies."""
    monkeypatch.delenv("ASYNCGG_QUOTA")


@pytest.mark.parametrize(
    ("values", "expected", "initial", "ceiling"),
    [
        ({}, 30, 29, 30),
        ({"explore": True}, 30, 30, 300),
        ({"quota": 12}, 12, 11, 12),
        ({"rate": 20}, 20, 20, 20),
        ({"rate": 200}, 200, 30, 200),
        ({"rate": 200, "quota": 150}, 200, 150, 200),
        ({"rate": 1000, "quota": 1000}, 1000, 1000, 1000),
        ({"rate": 30}, 30, 29, 30),
        ({"quota_share": 0.5}, 15, 14.74, 14.74),
        ({"quota_share": 0.5, "quota": 100}, 50, 49.6, 49.6),
        ({"quota_share": 0.5, "rate": 40}, 15, 14.74, 14.74),
        ({"quota_share": 0.5, "rate": 10}, 10, 9.76, 9.76),
        ({"quota_share": 0.5, "burst": 500}, 15, 12, 12),
    ],
)
def test_rate_policy_follows_settings(
    values: dict[str, float], expected: float, initial: float, ceiling: float
) -> None:
    """The expected rate of the plan, and the initial rate and ceiling of the policy."""
    settings = load_settings(values)
    policy = rate_policy(settings, "eu-central-1")
    assert quota_rate(settings, "eu-central-1") == expected
    assert policy.rate == pytest.approx(initial)
    assert policy.statistics().ceiling == pytest.approx(ceiling)


@pytest.mark.parametrize("values", [{"quota_share": 0.5}, {"quota_share": 0.1, "burst": 40}, {"quota_share": 1 / 60}])
def test_rate_policy_keeps_the_share_in_any_five_seconds(values: dict[str, float]) -> None:
    """A token bucket starts at most the share of five seconds of quota in five seconds."""
    settings = load_settings(values)
    policy = rate_policy(settings, "eu-central-1")
    maximum = 5 * policy.statistics().ceiling + policy.burst
    assert maximum <= max(1.25, 5 * 30 * settings.quota_share) + 1e-9
