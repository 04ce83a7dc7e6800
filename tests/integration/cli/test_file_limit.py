"""Tests of runs with a low limit on open files."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncgg.file_limit import RESERVED_FILES
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner, small_fleet

RUN = ("disassociate", "fleet.csv", "--yes", "--concurrency", "200", "--rate", "5000", "--quota", "5000")


@pytest.fixture
def low_soft_limit() -> Iterator[int]:
    """A soft limit that is lower than the concurrency, for this test."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (150, hard))
    yield 150
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def test_soft_limit_is_raised(cli: CommandRunner, serve: StartSimulator, low_soft_limit: int) -> None:
    """The concurrency stays; nothing is written about it."""
    serve()
    result = cli(*RUN, "--json")
    assert result.code == 0, result.err
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 200 + RESERVED_FILES
    assert "open files" not in result.err


@pytest.mark.parametrize("options", [(), ("--log-format", "json")])
def test_hard_limit_lowers_the_concurrency(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """One message; no more requests are in flight than there are files for."""
    simulator = serve(small_fleet(60, 1), latency_ms=30.0)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (50, 50))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: None)
    result = cli(*RUN, *options)
    assert result.code == 0, result.err
    if options:
        events = [json.loads(line) for line in result.err.splitlines()]
        assert [event["concurrency"] for event in events if event["event"] == "concurrency-lowered"] == [10]
    else:
        message = "the limit on open files lowers --concurrency from 200 to 10; raise the limit with `ulimit -n`\n"
        assert result.err.count(message) == 1
    assert 1 < simulator.service.counters.max_in_flight <= 10
    assert cli("plan", Path("fleet.csv"), "--concurrency", "200", "--json").json["concurrency"] == 10
