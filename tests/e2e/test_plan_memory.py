"""Tests that the memory of `asyncgg plan MANIFEST` does not grow with the manifest."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

from benchmarks.memory import LIMIT_MB, peak_memory_mb, write_manifest
from tests.support.programs import program_environment

# `python -m benchmarks.memory` measures larger manifests.
SMALL, LARGE = 200_000, 500_000  # both load pyarrow
BYTES_PER_THING = 200
"""Allowed growth: enough for the page cache of SQLite, less than a set of pairs of names would need."""


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


BACKGROUND_RUNS = {"memory": _measure_peaks}


def test_plan_memory_is_independent_of_manifest_size(
    background_runs: Mapping[str, Future[tuple[float, float]]],
) -> None:
    """2.5 times as many things need little more memory, and both peaks are below the limit for a million."""
    small, large = background_runs["memory"].result()
    assert large < LIMIT_MB * 0.9  # 200 to 240 MB, by what pyarrow finds to load
    assert large - small < (LARGE - SMALL) * BYTES_PER_THING / 1e6, (small, large)
