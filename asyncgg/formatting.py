"""Formats durations and timestamps for people."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["format_duration", "format_timestamp"]


def format_duration(seconds: float) -> str:
    """Seconds as a person reads them: 8.4 s, 2 min 05 s, 3 h 20 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    rounded = round(seconds)
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_timestamp(seconds: float | None) -> str:
    """Seconds since 1970 as ISO 8601 in UTC; empty for None."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
