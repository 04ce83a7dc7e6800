"""Rule: a service as a person describes it, by options or in a file, becomes a `Scenario` here; each fault is named.

Times are durations as everywhere (`80ms`, `1.5s`), rates requests a second, shares percent.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from asyncgg.errors import SettingsError, UsageError
from asyncgg.ratelimit import DOCUMENTED_QUOTA
from asyncgg.settings import parse_duration
from asyncgg.testing import JitteredLatency, Scenario, ScenarioFault, ScheduledChange

__all__ = ["KEYS", "build_scenario", "read_service"]

_LATENCY: Final = 0.08
_JITTER: Final = 0.04


def _parse_number(value: object) -> float:
    if isinstance(value, bool):
        raise ValueError("is no number")
    try:
        return float(value)  # type: ignore[arg-type]  # what is no number at all raises
    except OverflowError:
        raise ValueError("is too large") from None
    except (TypeError, ValueError):
        raise ValueError("is no number") from None


def _parse_time(value: object) -> float:
    return 0.0 if str(value).strip() in {"0", "0ms", "0s", "0.0"} else parse_duration(value)


def _parse_percent(value: object) -> float:
    share = _parse_number(str(value).strip().removesuffix("%"))
    if not 0 <= share <= 100:
        raise ValueError("must be from 0 to 100 percent")
    return share / 100


KEYS: Final[Mapping[str, Callable[[object], float]]] = {
    "quota": _parse_number,
    "burst": _parse_number,
    "latency": _parse_time,
    "jitter": _parse_time,
    "background_rate": _parse_number,
    "retry_after": _parse_time,
    "errors": _parse_percent,
}
"""What can be said of a service, by an option or by a key of its file, and how it is read."""

_STEP_KEYS: Final = {"at", "quota", "burst", "background_rate", "latency", "jitter"}


def read_service(path: Path) -> dict[str, Any]:
    """The members of a service's file. Raises `SettingsError` when it cannot be read or has a key nobody knows."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such file of a service") from None
    except OSError as error:
        raise SettingsError(f"{path}: it cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: it is no TOML: {error}") from None
    normalized = {key.replace("-", "_"): value for key, value in values.items()}
    if unknown := sorted(normalized.keys() - KEYS.keys() - {"step"}):
        allowed = ", ".join(sorted(KEYS))
        raise SettingsError(f"{path}: {unknown[0]}: a service has no such member; it has {allowed} and [[step]]")
    return normalized


def build_scenario(
    options: Mapping[str, Any], file_values: Mapping[str, Any] | None = None, source: str = ""
) -> Scenario:
    """The service that `given` options (None: not given) say, over what its file at `place` says, over the defaults.

    Without a burst it is one second's worth of the quota. Raises `SettingsError`, which names what is wrong.
    """
    file_values = file_values or {}
    values = {name: _parse_value(name, file_values[name], f"{source}: ") for name in KEYS if name in file_values}
    values |= {name: _parse_value(name, options[name], "--") for name in KEYS if options.get(name) is not None}
    quota = values.get("quota", DOCUMENTED_QUOTA)
    errors = values.get("errors", 0.0)
    try:
        return Scenario(
            quota=quota,
            burst=values.get("burst", max(1.0, quota)),
            latency=JitteredLatency(values.get("latency", _LATENCY), values.get("jitter", _JITTER)),
            background_rate=values.get("background_rate", 0.0),
            retry_after=values.get("retry_after") or None,
            faults=(ScenarioFault(share=errors),) if errors else (),
            changes=_parse_steps(file_values.get("step", []), f"{source}: "),
        )
    except SettingsError:
        raise
    except UsageError as error:
        raise SettingsError(f"{source + ': ' if source else ''}{error}") from None


def _parse_steps(items: object, prefix: str) -> tuple[ScheduledChange, ...]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise SettingsError(f"{prefix}step: write each one as a table [[step]]")
    return tuple(_parse_step({key.replace("-", "_"): value for key, value in item.items()}, prefix) for item in items)


def _parse_step(item: Mapping[str, Any], prefix: str) -> ScheduledChange:
    if unknown := sorted(item.keys() - _STEP_KEYS):
        raise SettingsError(f"{prefix}step.{unknown[0]}: a step has no such member")
    if "at" not in item:
        raise SettingsError(f"{prefix}step: it needs `at`, the time after the first request")
    values = {name: _parse_value(name, value, f"{prefix}step.") for name, value in item.items() if name != "at"}
    latency = None
    if "latency" in values or "jitter" in values:
        latency = JitteredLatency(values.get("latency", _LATENCY), values.get("jitter", 0.0))
    at = _parse_value("latency", item["at"], f"{prefix}step.at, read as ")
    return ScheduledChange(at, values.get("quota"), values.get("burst"), values.get("background_rate"), latency)


def _parse_value(name: str, value: object, prefix: str) -> float:
    try:
        return KEYS[name](value)
    except ValueError as error:
        label = name.replace("_", "-") if prefix == "--" else name
        raise SettingsError(f"{prefix}{label}: {value!r} {error}") from None
