"""The background runs of the end-to-end tests: long runs that mostly wait and therefore run in parallel."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

# A module names its long runs in `BACKGROUND_RUNS`: for each name a function of a folder. They start with
# the first test of this folder, or in an xdist worker with the first test that uses them. Only the runs of
# modules with a selected test start.

MAX_PARALLEL = 4


@pytest.fixture(scope="package", autouse=True)
def start_background_runs(request: pytest.FixtureRequest) -> None:
    """Start the background runs at once, except in an xdist worker."""
    if not hasattr(request.config, "workerinput"):
        request.getfixturevalue("background_runs")


@pytest.fixture(scope="package")
def background_runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Any]]:
    """The futures of the background runs, by name."""
    selected: dict[str, Callable[[Path], Any]] = {}
    for item in request.session.items:
        selected |= getattr(getattr(item, "module", None), "BACKGROUND_RUNS", {})
    with ThreadPoolExecutor(MAX_PARALLEL) as pool:
        futures: dict[str, Future[Any]] = {
            name: pool.submit(run, tmp_path_factory.mktemp(re.sub("[^a-z0-9]+", "-", name.lower())))
            for name, run in selected.items()
        }
        try:
            yield futures
        finally:
            for future in futures.values():
                future.cancel()
