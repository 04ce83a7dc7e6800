"""Tests of asyncgg.formatting."""

from __future__ import annotations

import pytest

from asyncgg.formatting import format_duration, format_percent, format_timestamp, sanitize


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (60.0, "1 min 00 s"), (3599.6, "1 h 00 min"), (45_000, "12 h 30 min")],
)
def test_format_duration(seconds: float, text: str) -> None:
    """Tenths of seconds below a minute, seconds below an hour, then minutes; no value of 60."""
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("done", "total", "text"), [(0, 3, "0 %"), (1999, 2000, "99 %"), (3, 3, "100 %"), (0, 0, "100 %")]
)
def test_format_percent_is_100_for_everything_only(done: int, total: int, text: str) -> None:
    """It is rounded down; nothing to do is everything."""
    assert format_percent(done, total) == text


def test_sanitize_returns_one_printable_line_without_secrets() -> None:
    """Line breaks, control characters, passwords in URLs and session tokens are replaced."""
    text = "a\nb \x1b[31m http://me:hunter2@host x-amz-security-token: hunter2 " + "x" * 400
    line = sanitize(text)
    assert line.startswith("a b \\x1b[31m http://***@host")
    assert line.isprintable()
    assert "hunter2" not in line


@pytest.mark.parametrize("seconds", [None, 1e300, float("inf"), float("nan"), -1e15])
def test_format_timestamp_without_a_date_is_empty(seconds: float | None) -> None:
    """One damaged journal must not break the list of all runs."""
    assert format_timestamp(seconds) == ""
