"""Formats durations, timestamps and texts of other programs for people."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from asyncgg.errors import redact_secrets

_URL_USERINFO: Final = re.compile(r"//[^/@\s]*@")
_MAX_LENGTH: Final = 300


def format_duration(seconds: float) -> str:
    """Seconds as 8.4 s, 2 min 05 s or 3 h 20 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    rounded = round(seconds)
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_count(count: int, noun: str) -> str:
    """A number with its noun: 1 thing or 2,000 things."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_timestamp(seconds: float | None) -> str:
    """Unix time as ISO 8601 in UTC; empty for None."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sanitize(text: object) -> str:
    """One printable line of at most 300 characters without session tokens or passwords."""
    line = redact_secrets(_URL_USERINFO.sub("//***@", " ".join(str(text).split())))[:_MAX_LENGTH]
    return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
