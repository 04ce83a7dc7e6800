"""Choose the configurations that a sweep tries for a scenario."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from asyncgg.errors import SettingsError
from asyncgg.testing import JitteredLatency, RecordedLatency, Scenario
from asyncgg.tuning.models import Configuration

_RATE_FACTORS: Final = (0.5, 0.8, 0.9, 0.97, 1.0, 1.1, 1.5)
"""Factors of the available rate."""
_DEFAULT_CONCURRENCY: Final = 64
"""The default setting, always among the values tried."""
DEFAULT_PER_CORE: Final = 4
_MAX_COMBINATIONS: Final = 20_000
"""A larger grid would run for hours."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The values to combine; a burst of None means automatic."""

    rates: tuple[float, ...]
    bursts: tuple[float | None, ...]
    concurrencies: tuple[int, ...]
    per_cores: tuple[int, ...]

    def configurations(self) -> list[Configuration]:
        """Return every combination without duplicates, `per_core` limited to the concurrency.

        Raises `SettingsError` if there are too many.
        """
        count = len(self.rates) * len(self.bursts) * len(self.concurrencies) * len(self.per_cores)
        if count > _MAX_COMBINATIONS:
            raise SettingsError(
                f"{count:,} combinations exceed the maximum of {_MAX_COMBINATIONS:,}; give fewer values"
            )
        unique = {
            Configuration(rate, burst, concurrency, min(per_core, concurrency)): None
            for rate in self.rates
            for burst in self.bursts
            for concurrency in self.concurrencies
            for per_core in self.per_cores
        }
        return list(unique)


def build_grid(
    scenario: Scenario,
    *,
    rates: Sequence[float] = (),
    bursts: Sequence[float | None] = (),
    concurrencies: Sequence[int] = (),
    per_cores: Sequence[int] = (),
) -> Grid:
    """Build the grid from the given values, and from the quota and latency where none are given.

    Raises `SettingsError` if neither a quota nor rates are given.
    """
    available_rate = max(scenario.quota - scenario.background_rate, scenario.quota / 100)
    if math.isinf(available_rate):
        if not rates:
            raise SettingsError("the quota is unlimited; give --rates")
        available_rate = max(rates)
    return Grid(
        tuple(sorted(set(rates))) or tuple(_round_down(available_rate * factor) for factor in _RATE_FACTORS),
        tuple(dict.fromkeys(bursts)) or _default_bursts(scenario.burst),
        tuple(sorted(set(concurrencies))) or _default_concurrencies(available_rate * mean_latency(scenario)),
        tuple(sorted(set(per_cores))) or (DEFAULT_PER_CORE,),
    )


def parse_numbers(option: str, text: str, *, auto: bool = False, whole: bool = False) -> list[float | None]:
    """Parse a list such as `5,10,20`: numbers above 0, or integers; `auto` becomes None.

    Raises `SettingsError`.
    """
    values: list[float | None] = []
    for item in filter(None, text.replace(" ", "").split(",")):
        if auto and item == "auto":
            values.append(None)
            continue
        try:
            value = float(item)
        except ValueError:
            value = math.nan
        if not (0 < value < math.inf) or (whole and value != int(value)):
            expected = "an integer of 1 or more" if whole else "a number above 0"
            raise SettingsError(f"{option}: {item!r} is not {expected}; use the form 5,10,20")
        values.append(value)
    if not values:
        raise SettingsError(f"{option}: no values; use the form 5,10,20")
    return values


def _default_bursts(service_burst: float) -> tuple[float | None, ...]:
    """Return automatic, 50 % and 90 % of the service burst; the rest absorbs jitter."""
    return (None, *dict.fromkeys(max(1.0, float(round(service_burst * share))) for share in (0.5, 0.9)))


def _default_concurrencies(in_flight: float) -> tuple[int, ...]:
    """Return values around `in_flight`, the mean requests in flight at the quota (Little's law)."""
    minimum = max(1, math.ceil(in_flight))
    return tuple(
        sorted({max(1, minimum // 2), minimum, 2 * minimum, 4 * minimum, max(_DEFAULT_CONCURRENCY, 8 * minimum)})
    )


def mean_latency(scenario: Scenario) -> float:
    """Return the mean latency before any scheduled change, in seconds."""
    latency = scenario.latency
    if isinstance(latency, JitteredLatency):
        return latency.base + latency.jitter
    return sum(latency.seconds) / len(latency.seconds) if isinstance(latency, RecordedLatency) else 0.1


def _round_down(value: float) -> float:
    """Round down to three significant digits, so that no rate exceeds the quota."""
    scale = 10.0 ** (2 - math.floor(math.log10(value)))
    return float(f"{math.floor(value * scale + 1e-6) / scale:.3g}")
