"""Tests of signals, kills and concurrent commands, with real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asyncgg.simulator import Simulator
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner, isolated_environment, small_fleet, wait_until
from tests.support.programs import Program

SLOW_RUN = (
    "disassociate",
    "fleet.csv",
    "--yes",
    "--journal",
    "run.journal",
    "--rate",
    "10",
    "--json",
    "--log-format=json",
)


def _start_slow_run(simulator: Simulator) -> Program:
    return Program(*SLOW_RUN, home=Path.cwd(), env=isolated_environment(AWS_ENDPOINT_URL=simulator.url))


def _request_count(simulator: Simulator) -> int:
    return simulator.service.counters.requests.total()


def _remaining(simulator: Simulator) -> int:
    return sum(map(len, simulator.service.fleet.things.values()))


def test_first_signal_waits_for_in_flight_requests(serve: StartSimulator, cli: CommandRunner) -> None:
    """SIGTERM: in-flight requests end, exit 130; a resume sends the rest and nothing twice."""
    simulator = serve(small_fleet(20, 1))
    with _start_slow_run(simulator) as program:
        wait_until(lambda: _request_count(simulator) >= 3)
        program.signal(signal.SIGTERM)
        ended = program.wait()
    assert ended.code == 130, ended.describe()
    summary = ended.summary
    assert summary["state"] == "interrupted"
    assert summary["reason"] == "stopped by SIGTERM"
    assert summary["things"]["pending"] == _remaining(simulator) > 0
    assert {json.loads(line)["event"] for line in ended.err.splitlines() if line.startswith("{")} >= {
        "stopping",
        "ended",
    }
    result = cli("resume", "run.journal", "--yes", "--quiet", "--json", "--rate", 500)
    assert result.code == 0
    assert result.json["requests"]["sent"] == 20
    assert simulator.service.counters.summary()["things"]["carried_more_than_once"] == 0


def test_second_signal_aborts_in_flight_requests(serve: StartSimulator) -> None:
    """The first signal waits for a hanging request, the second does not: exit 130."""
    simulator = serve(small_fleet(20, 1), latency_ms=30_000.0)
    with _start_slow_run(simulator) as program:
        wait_until(lambda: _request_count(simulator) >= 2)
        program.signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            program.process.wait(0.3)
        program.signal(signal.SIGTERM)
        ended = program.wait()
    assert ended.code == 130, ended.describe()
    assert ended.summary["things"]["pending"] == 20
    assert "Traceback" not in ended.err


def test_running_journal_can_only_be_read(serve: StartSimulator, cli: CommandRunner) -> None:
    """During a run status and report work; resume and retry are refused."""
    simulator = serve(small_fleet(20, 1))
    with _start_slow_run(simulator) as program:
        wait_until(lambda: _request_count(simulator) >= 3)
        status = cli("status", "run.journal", "--json")
        refused = [cli(command, "run.journal", "--yes") for command in ("resume", "retry")]
        report = cli("report", "run.journal", "--outcomes", "all.csv", "--json")
        program.signal(signal.SIGHUP)
        assert program.wait().code == 130
    assert status.code == 0
    assert status.json["running"] is True
    assert status.json["state"] == "running"
    assert status.json["things"]["total"] == 20
    assert status.json["rate"] > 0
    assert 0 < status.json["seconds_left"] < 30
    assert report.code == 0
    assert len(Path("all.csv").read_text(encoding="utf-8").splitlines()) == 21
    for result in refused:
        assert result.code == 2
        assert "in use by another process" in result.err


def test_killed_run_is_resumed(serve: StartSimulator, cli: CommandRunner) -> None:
    """After kill -9 the state is interrupted, and a resume completes the run."""
    simulator = serve(small_fleet(20, 1))
    with _start_slow_run(simulator) as program:
        wait_until(lambda: _request_count(simulator) >= 3)
        program.kill()
        assert program.wait().code == -signal.SIGKILL
    status = cli("status", "run.journal", "--json")
    assert status.json["state"] == "interrupted"
    assert status.json["running"] is False
    result = cli("resume", "run.journal", "--yes", "--quiet", "--json", "--rate", 500)
    assert result.code == 0
    things = result.json["things"]
    assert things["disassociated"] + things["already"] == 20  # the kill can lose a reply
    assert _remaining(simulator) == 0


def test_deleted_journal_stops_the_run(serve: StartSimulator) -> None:
    """A journal that is deleted during a run has no use: the run stops and says so."""
    simulator = serve(small_fleet(60, 1))
    with _start_slow_run(simulator) as program:
        wait_until(lambda: _request_count(simulator) >= 3)
        for path in Path.cwd().glob("run.journal*"):
            path.unlink()
        ended = program.wait()
    assert ended.code == 1, ended.describe()
    assert "run.journal was deleted or moved during the run" in ended.err
    assert _remaining(simulator) > 20


def test_closed_standard_streams_lose_nothing(serve: StartSimulator, cli: CommandRunner) -> None:
    """Without standard input, output and error the run ends with its exit code and a complete journal."""
    simulator = serve()
    arguments = ["disassociate", "fleet.csv", "--yes", "--journal", "run.journal", "--rate", "500"]
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "asyncgg", *arguments],
        env=isolated_environment(AWS_ENDPOINT_URL=simulator.url),
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0
    assert cli("status", "run.journal", "--json").json["things"]["pending"] == _remaining(simulator) == 0
