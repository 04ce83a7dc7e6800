"""Rule: `asyncgg plan MANIFEST`: memory does not grow with the manifest. All of it: `python -m benchmarks.memory`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

from benchmarks.memory import LIMIT_MB, peak_memory_mb, write_manifest
from tests.support.programs import program_environment

SMALL, LARGE = 100_000, 300_000
BYTES_PER_THING = 200
"""Growth allowed: SQLite's page cache fills up to its fixed size; two strings in a tuple and a set would take more."""


def _measure_peaks(home: Path) -> tuple[float, float]:
    small, large = (
        peak_memory_mb(
            [sys.executable, "-m", "asyncgg", "plan", str(write_manifest(home / "fleet.csv", things))],
            env=program_environment(home, AWS_ENDPOINT_URL="http://127.0.0.1:9"),
            cwd=home,
        )
        for things in (SMALL, LARGE)
    )
    return small, large


STORIES = {"memory": _measure_peaks}


def test_memory_does_not_grow_with_the_manifest(stories: Mapping[str, Future[tuple[float, float]]]) -> None:
    """Three times as many things take hardly more memory, and both stay far below what is allowed for a million."""
    small, large = stories["memory"].result()
    assert large < LIMIT_MB * 0.6
    assert large - small < (LARGE - SMALL) * BYTES_PER_THING / 1e6, (small, large)
