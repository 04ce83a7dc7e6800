"""Tests of asyncgg.tuning.grid."""

from __future__ import annotations

import pytest

from asyncgg.errors import SettingsError
from asyncgg.testing import JitteredLatency, Scenario
from asyncgg.tuning.grid import Grid, build_grid, parse_numbers
from asyncgg.tuning.models import Configuration

SCENARIO = Scenario(30, 30, JitteredLatency(0.08, 0.04))


def test_build_grid_follows_quota_and_latency() -> None:
    """Rates are around the quota, rounded down; concurrencies are around rate times latency."""
    grid = build_grid(Scenario(19.763, 15, JitteredLatency(0.1, 0.1)))
    assert max(rate for rate in grid.rates if rate < 20) == 19.7
    assert grid.bursts == (None, 8.0, 14.0)
    assert grid.concurrencies[:2] == (2, 4)
    assert 64 in grid.concurrencies
    assert build_grid(SCENARIO, rates=[7], bursts=[None], concurrencies=[3], per_cores=[1]).configurations() == [
        Configuration(7, None, 3, 1)
    ]
    with pytest.raises(SettingsError, match="--rates"):
        build_grid(Scenario(float("inf")))


def test_grid_too_many_combinations_raises() -> None:
    """A grid that would run for hours is an error."""
    with pytest.raises(SettingsError, match="combinations"):
        Grid(tuple(range(1, 201)), (None,), tuple(range(1, 201)), (4,)).configurations()


@pytest.mark.parametrize("text", ["", "a", "1,,x", "-3", "nan", "inf", "0"])
def test_parse_numbers_invalid_list_raises(text: str) -> None:
    """An invalid list is an error that names the option."""
    with pytest.raises(SettingsError, match="--rates"):
        parse_numbers("--rates", text)


def test_parse_numbers_accepts_auto_and_integers_on_request() -> None:
    """A list has numbers, `auto` or integers, depending on the option."""
    assert parse_numbers("--bursts", "auto, 5,2.5", auto=True) == [None, 5, 2.5]
    with pytest.raises(SettingsError, match="integer"):
        parse_numbers("--concurrencies", "1.5", whole=True)
