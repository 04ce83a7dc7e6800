"""Formats durations, timestamps and texts of other programs for people, and parses durations."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Final

from asyncgg.errors import redact_secrets

_URL_USERINFO: Final = re.compile(r"//[^/@\s]*@")
_OBJECT: Final = re.compile(r"(?: \w+:)?<[\w.]+ object at 0x[0-9a-f]+>")
"""An object in a message, such as the TLS context that aiohttp shows with a failed connection."""
_MAX_LENGTH: Final = 300
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+\Z")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class CommandLine(str):
    """A line for the user's shell. It is never wrapped, so that it can be copied."""

    __slots__ = ()


def format_duration(seconds: float, *, whole: bool = False) -> str:
    """Seconds as 8.4 s (8 s if `whole`), 2 min 05 s or 3 h 20 min."""
    if seconds < (59.5 if whole else 60):
        return f"{seconds:.0f} s" if whole else f"{seconds:.1f} s"
    rounded = round(seconds)
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_elapsed(seconds: float) -> str:
    """Seconds in a narrow column: 8s, 2m05s, 3h20m or 5d03h."""
    whole = max(0, round(seconds))
    for unit, minor, size in (("d", "h", 3600), ("h", "m", 60), ("m", "s", 1)):
        per_unit = 24 if unit == "d" else 60
        if whole >= size * per_unit:
            return f"{whole // (size * per_unit)}{unit}{whole // size % per_unit:02d}{minor}"
    return f"{whole}s"


def parse_duration(value: object) -> float:
    """Seconds of `90`, `"90s"` or `"1h30m"` (ms, s, m, h, d). Raises `ValueError`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    else:
        text = str(value).replace(" ", "").lower()
        if re.fullmatch(r"\d+(?:\.\d+)?", text):
            seconds = float(text)
        elif _DURATION.match(text):
            seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))
        else:
            raise ValueError("must be a duration such as 90s, 15m, 2h or 1h30m")
    if not math.isfinite(seconds):
        raise ValueError("must be finite")
    if seconds <= 0:
        raise ValueError("must be greater than 0")
    return seconds


def format_count(count: int, noun: str) -> str:
    """A number with its noun: 1 thing or 2,000 things."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_counts(*counts: tuple[int, str]) -> list[str]:
    """Each number above 0 with its label, such as 2,000 failed."""
    return [f"{count:,} {label}" for count, label in counts if count]


def format_percent(done: int, total: int) -> str:
    """The part that is done, rounded down: 100 % means everything."""
    return f"{100 * done // total if total else 100} %"


def format_timestamp(seconds: float | None) -> str:
    """Unix time as ISO 8601 in UTC; empty for None, and for a value of a damaged file that is no date."""
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return ""


def hide_userinfo(text: str) -> str:
    """`text` without the user names and passwords of URLs."""
    return _URL_USERINFO.sub("//***@", text)


def sanitize(text: object) -> str:
    """One printable line of at most 300 characters without tokens, passwords or addresses of objects."""
    line = _OBJECT.sub("", hide_userinfo(" ".join(str(text).split())))
    line = redact_secrets(line)[:_MAX_LENGTH]
    return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
