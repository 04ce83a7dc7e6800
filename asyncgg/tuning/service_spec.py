"""Build a `Scenario` from command line options and a service file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from asyncgg.errors import SettingsError, UsageError
from asyncgg.files import read_toml
from asyncgg.formatting import parse_duration
from asyncgg.ratelimit import DOCUMENTED_QUOTA
from asyncgg.testing import JitteredLatency, Scenario, ScenarioFault, ScheduledChange

_LATENCY: Final = 0.08
_JITTER: Final = 0.04


def _parse_number(value: object) -> float:
    try:
        return float("" if isinstance(value, bool) else value)  # type: ignore[arg-type]  # other types raise TypeError
    except OverflowError:
        raise ValueError("is too large") from None
    except (TypeError, ValueError):
        raise ValueError("is not a number") from None


def _parse_time(value: object) -> float:
    return 0.0 if str(value).strip() in {"0", "0ms", "0s", "0.0"} else parse_duration(value)


def _parse_percent(value: object) -> float:
    share = _parse_number(str(value).strip().removesuffix("%"))
    if not 0 <= share <= 100:
        raise ValueError("is not a percentage from 0 to 100")
    return share / 100


_Parsers = Mapping[str, Callable[[object], float]]

KEYS: Final[_Parsers] = {
    "quota": _parse_number,
    "burst": _parse_number,
    "latency": _parse_time,
    "jitter": _parse_time,
    "background_rate": _parse_number,
    "retry_after": _parse_time,
    "errors": _parse_percent,
}
"""Keys of a service file, which are also options, and their parsers."""

_STEP_KEYS: Final[_Parsers] = {"at": _parse_time} | {
    name: KEYS[name] for name in ("quota", "burst", "background_rate", "latency", "jitter")
}


def read_service(path: Path) -> dict[str, Any]:
    """Return the values of a service file. Raises `SettingsError` if the file is invalid."""
    normalized = {key.replace("-", "_"): value for key, value in read_toml(path, "service file").items()}
    if unknown := sorted(normalized.keys() - KEYS.keys() - {"step"}):
        raise SettingsError(f"{path}: {unknown[0]}: unknown key; must be one of: {_join(KEYS)}, [[step]]")
    return normalized


def build_scenario(
    options: Mapping[str, Any], file_values: Mapping[str, Any] | None = None, source: str = ""
) -> Scenario:
    """Build the scenario; options other than None override the file, which overrides the defaults.

    The default burst is the quota of one second. Errors of the file name `source`. Raises
    `SettingsError`.
    """
    file_values = file_values or {}
    values = _parse_values(KEYS, file_values, f"{source}: ") | _parse_values(KEYS, options, "--")
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
        raise SettingsError(f"{prefix}step: must be an array of tables [[step]]")
    return tuple(_parse_step({key.replace("-", "_"): value for key, value in item.items()}, prefix) for item in items)


def _parse_step(item: Mapping[str, Any], prefix: str) -> ScheduledChange:
    if unknown := sorted(item.keys() - _STEP_KEYS.keys()):
        raise SettingsError(f"{prefix}step.{unknown[0]}: unknown key; must be one of: {_join(_STEP_KEYS)}")
    if "at" not in item:
        raise SettingsError(f"{prefix}step: the key `at` is missing: the time after the first request")
    values = _parse_values(_STEP_KEYS, item, f"{prefix}step.")
    latency = None
    if "latency" in values or "jitter" in values:
        latency = JitteredLatency(values.get("latency", _LATENCY), values.get("jitter", 0.0))
    return ScheduledChange(
        values["at"], values.get("quota"), values.get("burst"), values.get("background_rate"), latency
    )


def _parse_values(parsers: _Parsers, values: Mapping[str, Any], prefix: str) -> dict[str, float]:
    parsed = {}
    for name, parse in parsers.items():
        if (value := values.get(name)) is not None:
            try:
                parsed[name] = parse(value)
            except ValueError as error:
                raise SettingsError(f"{prefix}{name.replace('_', '-')}: {value!r} {error}") from None
    return parsed


def _join(names: Iterable[str]) -> str:
    return ", ".join(sorted(name.replace("_", "-") for name in names))
