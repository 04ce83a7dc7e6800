"""Rule: what runs in the background of a whole test run: long stories that mostly wait, so that nobody waits for them.

A module names its stories in `STORIES`: a function of a folder for each name. Those whose module has a chosen test
begin with the test run, and the tests that ask what came of them are put last. Where the tests are spread over
processes the first one tells the stories, and leaves what came of each in a file for the others.
"""

from __future__ import annotations

import os
import pickle
import re
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

AT_ONCE: Final = 3
PATIENCE: Final = 600.0
"""Seconds until a story that does not end counts as lost."""
_TELLER: Final = pytest.StashKey[ThreadPoolExecutor]()


class Stories:
    """What came of the stories, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> Any:
        """Wait for the end of a story; what it came to. Raises AssertionError with its traceback when it failed."""
        path, deadline = self._path(name), time.monotonic() + PATIENCE
        while not path.exists():
            assert time.monotonic() < deadline, f"the story {name} did not end"
            time.sleep(0.05)  # another process tells it: no virtual clock has it
        told, fault = pickle.loads(path.read_bytes())
        assert not fault, fault
        return told

    def tell(self, name: str, story: Callable[[Path], Any]) -> None:
        """Let a story happen, and leave what came of it."""
        place = self._folder / re.sub("[^a-z0-9]+", "-", name.lower())
        place.mkdir(parents=True)
        told, fault = None, ""
        try:
            told = story(place)
        except BaseException:  # noqa: BLE001 - whoever asks for it must learn of it
            fault = traceback.format_exc()
        part = place.with_suffix(".part")
        part.write_bytes(pickle.dumps((told, fault)))
        part.replace(self._path(name))

    def _path(self, name: str) -> Path:
        return self._folder / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.told"


def _stories_of(item: pytest.Item) -> dict[str, Callable[[Path], Any]]:
    return dict(getattr(getattr(item, "module", None), "STORIES", {}))


def _folder(config: pytest.Config) -> Path:
    """The same for all processes of one test run."""
    base: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # what the fixture gives, before there is a test
    return (base.parent if hasattr(config, "workerinput") else base) / "stories"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put those who wait for a story last."""
    items.sort(key=lambda item: bool(_stories_of(item)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin the stories, in one process."""
    config = session.config
    if config.option.collectonly or os.environ.get("PYTEST_XDIST_WORKER", "gw0") != "gw0":
        return
    if hasattr(config.option, "numprocesses") and config.option.numprocesses and not hasattr(config, "workerinput"):
        return  # the one that spreads the tests over others runs none itself
    chosen: dict[str, Callable[[Path], Any]] = {}
    for item in session.items:
        chosen |= _stories_of(item)
    if chosen:
        stories = Stories(_folder(config))
        pool = config.stash[_TELLER] = ThreadPoolExecutor(AT_ONCE)
        for name, story in chosen.items():
            pool.submit(stories.tell, name, story)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let the stories come to their end: another process may still wait for one."""
    pool = session.config.stash.get(_TELLER, None)
    if pool is not None:
        pool.shutdown(wait=True)


@pytest.fixture(scope="session")
def stories(pytestconfig: pytest.Config) -> Stories:
    """The stories by name."""
    return Stories(_folder(pytestconfig))
