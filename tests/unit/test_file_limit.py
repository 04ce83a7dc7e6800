"""Tests of asyncgg.file_limit."""

from __future__ import annotations

import resource
from types import SimpleNamespace

import pytest

from asyncgg import file_limit
from asyncgg.file_limit import RESERVED_FILES, fit_concurrency

UNLIMITED = resource.RLIM_INFINITY


def set_limits(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, highest: float) -> list[tuple[int, int]]:
    """Simulate the limits of a process that can raise the soft one to `highest`; returns the changes."""
    changes: list[tuple[int, int]] = []

    def setrlimit(kind: int, limits: tuple[int, int]) -> None:
        assert limits[1] == hard
        if limits[0] > highest:
            raise ValueError("current limit exceeds maximum limit")
        changes.append(limits)

    fake = SimpleNamespace(
        RLIM_INFINITY=UNLIMITED, RLIMIT_NOFILE=7, getrlimit=lambda kind: (soft, hard), setrlimit=setrlimit
    )
    monkeypatch.setattr(file_limit, "resource", fake)
    return changes


@pytest.mark.parametrize(
    ("soft", "hard", "highest", "raised", "concurrency"),
    [
        pytest.param(1024, 4096, 4096, [], 100, id="high enough"),
        pytest.param(UNLIMITED, UNLIMITED, 0, [], 100, id="no limit"),
        pytest.param(64, 4096, 4096, [100 + RESERVED_FILES], 100, id="raised as far as required"),
        pytest.param(64, UNLIMITED, 4096, [100 + RESERVED_FILES], 100, id="no hard limit"),
        pytest.param(64, 90, 90, [90], 90 - RESERVED_FILES, id="hard limit too low"),
        pytest.param(64, 64, 64, [64], 64 - RESERVED_FILES, id="at the hard limit"),
        pytest.param(64, UNLIMITED, 64, [], 64 - RESERVED_FILES, id="kernel limit"),
        pytest.param(16, 16, 16, [16], 1, id="at least one"),
    ],
)
def test_fit_concurrency_raises_the_limit_or_lowers_the_concurrency(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, highest: float, raised: list[int], concurrency: int
) -> None:
    """The soft limit is raised up to the hard one; the concurrency is what fits."""
    changes = set_limits(monkeypatch, soft, hard, highest)
    assert fit_concurrency(100) == concurrency
    assert changes == [(limit, hard) for limit in raised]


def test_fit_concurrency_without_limits_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no limit on open files."""
    monkeypatch.setattr(file_limit, "resource", None)
    assert fit_concurrency(10_000) == 10_000
