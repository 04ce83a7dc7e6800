"""The event loop of all tests: virtual time for tests marked `virtual`, the loop of asyncio for all others."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping

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


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail in CI if a test was skipped: `.ci/run` must install what each test needs."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("skipped tests count as failed in CI", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
