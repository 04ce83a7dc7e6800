"""Rule: what runs in the background of all end-to-end tests: long runs that mostly wait, so that nobody waits for them.

A module names its long runs in `STORIES`: a function of a folder for each name. Those whose module has a chosen test
begin with the first test of this folder; where the tests are spread over processes, with the first that asks for one,
and all who ask are in the same process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

MAX_PARALLEL = 4


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep those who wait for a story in one process (`--dist loadgroup`): it is told once."""
    for item in items:
        if hasattr(getattr(item, "module", None), "STORIES"):
            item.add_marker(pytest.mark.xdist_group("stories"))


@pytest.fixture(scope="package", autouse=True)
def begun_early(request: pytest.FixtureRequest) -> None:
    """Begin the stories at once, unless another process may be the one that tells them."""
    if not hasattr(request.config, "workerinput"):
        request.getfixturevalue("stories")


@pytest.fixture(scope="package")
def stories(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Any]]:
    """The long runs by name, as futures of what they came to."""
    selected: dict[str, Callable[[Path], Any]] = {}
    for item in request.session.items:
        selected |= getattr(getattr(item, "module", None), "STORIES", {})
    with ThreadPoolExecutor(MAX_PARALLEL) as pool:
        futures: dict[str, Future[Any]] = {
            name: pool.submit(story, tmp_path_factory.mktemp(re.sub("[^a-z0-9]+", "-", name.lower())))
            for name, story in selected.items()
        }
        try:
            yield futures
        finally:
            for future in futures.values():
                future.cancel()
