"""The event loop of each test (virtual time for those marked `virtual`) and the distribution to xdist workers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from asyncgg.testing import VirtualLoop


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker `virtual`, for a test, a class or a module and for the async fixtures they use."""
    config.addinivalue_line("markers", "virtual: run this async test on virtual time; it never sleeps")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Select the event loop of a test for pytest-asyncio."""
    if item.get_closest_marker("virtual"):
        return {"virtual": VirtualLoop}
    return {"real": asyncio.new_event_loop}


@pytest.hookimpl(optionalhook=True)  # xdist's
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two workers more than CPUs: many tests wait for processes or for a rate."""
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(optionalhook=True)  # xdist's
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Give the tests of background runs to one worker, so that each run starts once, and all others one by one."""
    # `--dist loadgroup` groups nothing with pytest 9.2: https://github.com/pytest-dev/pytest-xdist/issues/1386
    from xdist.scheduler import LoadScopeScheduling

    folder = Path(__file__).parent / "e2e"
    modules = {path.name for path in folder.glob("test_*.py") if "\nBACKGROUND_RUNS = " in path.read_text("utf-8")}

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist publishes no types
        def _split_scope(self, nodeid: str) -> str:
            name = Path(nodeid.partition("::")[0]).name
            return "background runs" if name in modules else nodeid

    return Scheduling(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail in CI if a test was skipped: `.ci/run` must install what each test needs."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("skipped tests count as failed in CI", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
