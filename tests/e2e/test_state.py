"""Tests of `--state` with processes that are stopped, killed and replaced on another host."""

from __future__ import annotations

import contextlib
import signal
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import boto3

from tests.support.moto_server import moto_url
from tests.support.programs import Program, ProgramResult, SimulatorProcess, program_environment, run_asyncgg

__all__ = ["moto_url"]

THINGS = 10
OPTIONS = {"cores": 150, "things": THINGS, "latency_ms": 100, "rate": "inf"}
RATE = 50
INTERVAL = 0.5
"""Seconds between saves."""
# The lease allows to send for 8 s after each renewal, which a busy machine needs; others wait for 11 s.
LEASE = ("--request-timeout", "1s", "--state-lease", "9s", "--state-interval", f"{INTERVAL}s")


class StateScenario:
    """A state, the simulator of its run, and a folder of its own for each process."""

    def __init__(self, home: Path, simulator: SimulatorProcess, location: str = "", **variables: str) -> None:
        self.home, self.simulator = home, simulator
        self.location = location or str(home / "share")
        self.manifest = simulator.write_manifest()
        self.fleet = simulator.associations()
        self._variables = variables
        self._hosts = 0

    def start(self, *arguments: object, rate: int = RATE) -> Program:
        """Start `disassociate` in a new folder."""
        self._hosts += 1
        folder = self.home / f"host-{self._hosts}"
        folder.mkdir()
        environment = program_environment(folder, TMPDIR=str(folder), **self._variables)
        return Program(
            *("disassociate", self.manifest, "--yes", "--json", "--state", self.location, *LEASE),
            *("--endpoint-url", self.simulator.url, "--rate", rate, *arguments),
            home=folder,
            env=environment,
        )

    def finish(self) -> ProgramResult:
        """Continue in another folder until the end; every thing must have one outcome, and no file is left."""
        with self.start(rate=400) as program:
            ended = program.wait()
        assert ended.code == 0, ended.describe()
        things = ended.summary["things"]
        assert things["total"] == len(self.fleet) == things["disassociated"] + things["already"]
        assert self.simulator.associations() == set()
        assert list((self.home / f"host-{self._hosts}").iterdir()) == []
        return ended

    def resent(self) -> int:
        """Number of things that were sent again after their success."""
        return len(self.simulator.resent_after_success())

    def wait_for(self, requests: int, program: Program) -> None:
        """Wait until the simulator has admitted so many requests."""
        assert self.simulator.wait_until(lambda seen: seen["admitted"] >= requests, program), program.wait().describe()


@contextlib.contextmanager
def scenario(home: Path, *faults: str) -> Iterator[StateScenario]:
    """A scenario with the state in a folder."""
    with SimulatorProcess(home, *faults, **OPTIONS) as simulator:
        yield StateScenario(home, simulator)


def _run_killed(home: Path) -> dict[str, Any]:
    with scenario(home) as state:
        for requests in (40, 80):
            with state.start() as program:
                state.wait_for(requests, program)
                program.kill()
                program.wait()
        ended = state.finish()
        return {"resent": state.resent(), "ended": ended}


def _run_stopped(home: Path) -> dict[str, Any]:
    with scenario(home) as state, state.start() as first:
        state.wait_for(20, first)
        first.signal(signal.SIGSTOP)
        time.sleep(0.2)
        stopped_at = state.simulator.request_count()
        state.finish()
        finished_at = state.simulator.request_count()
        first.signal(signal.SIGCONT)
        ended = first.wait()
        late = state.simulator.request_count() - finished_at
        return {"first": ended, "late": late, "stopped_at": stopped_at, "resent": state.resent()}


def _run_stopped_alone(home: Path) -> dict[str, Any]:
    with scenario(home) as state:
        with state.start() as program:
            state.wait_for(20, program)
            program.signal(signal.SIGSTOP)
            time.sleep(0.2)
            before = state.simulator.request_count()
            time.sleep(10.0)
            program.signal(signal.SIGCONT)
            ended = program.wait()
        late = state.simulator.request_count() - before
        return {"first": ended, "late": late, "finished": state.finish()}


def _run_killed_after_sigterm(home: Path) -> dict[str, Any]:
    with scenario(home, "hang-after#20") as state:
        with state.start("--request-timeout", "7s", "--state-lease", "15s") as program:
            state.wait_for(30, program)
            program.signal(signal.SIGTERM)
            time.sleep(3.0)
            program.kill()
            program.wait()
        return {"ended": state.finish(), "resent": state.resent()}


BACKGROUND_RUNS = {
    "state-killed": _run_killed,
    "state-stopped": _run_stopped,
    "state-stopped-alone": _run_stopped_alone,
    "state-killed-after-sigterm": _run_killed_after_sigterm,
}
Results = Mapping[str, Future[dict[str, Any]]]


def test_kill_sends_again_at_most_what_one_interval_sent(background_runs: Results) -> None:
    """After two kills nothing is lost, and what was sent since the last save is sent again."""
    result = background_runs["state-killed"].result()
    # A save takes some time itself, and requests are in flight at the kill.
    assert result["resent"] <= 2 * THINGS * (RATE * 2 * INTERVAL + 8)
    assert result["ended"].summary["things"]["already"] == result["resent"]
    assert "possibly sent" in result["ended"].err


def test_stopped_process_sends_nothing_after_another_took_over(background_runs: Results) -> None:
    """A process that wakes up after its lease ends with exit code 4 and sends nothing."""
    result = background_runs["state-stopped"].result()
    assert result["late"] == 0
    assert result["first"].code == 4, result["first"].describe()
    assert "lease" in result["first"].summary["reason"]
    assert result["resent"] <= THINGS * (RATE * 2 * INTERVAL + 8)


def test_stopped_process_sends_nothing_after_its_lease_also_when_alone(background_runs: Results) -> None:
    """A lease that has run out ends the run, and the state is saved as it is."""
    result = background_runs["state-stopped-alone"].result()
    assert result["late"] == 0
    assert result["first"].code == 4, result["first"].describe()
    # What was in flight has timed out meanwhile.
    assert result["finished"].summary["things"]["already"] <= 10 * THINGS
    assert "possibly sent" not in result["finished"].err


def test_sigterm_saves_at_once_so_that_a_kill_loses_nothing(background_runs: Results) -> None:
    """A request that hangs beyond the grace time is the only one that is sent again."""
    result = background_runs["state-killed-after-sigterm"].result()
    assert result["resent"] == THINGS
    assert result["ended"].summary["things"]["already"] == THINGS


def test_run_stopped_by_sigterm_continues_elsewhere_from_s3(moto_url: str, tmp_path: Path) -> None:
    """Nothing is lost and nothing is sent twice."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of boto3
        client = boto3.client(
            *("s3", "us-east-1"), endpoint_url=moto_url, aws_access_key_id="AKIDTEST", aws_secret_access_key="test"
        )
        client.create_bucket(Bucket="state-sigterm")
    location = "s3://state-sigterm/nightly"
    with SimulatorProcess(tmp_path, **OPTIONS) as simulator:
        state = StateScenario(tmp_path, simulator, location, AWS_ENDPOINT_URL_S3=moto_url)
        with state.start() as program:
            state.wait_for(30, program)
            program.signal(signal.SIGTERM)
            stopped = program.wait()
        assert stopped.code == 130, stopped.describe()
        assert f"asyncgg resume --state {location}" in stopped.summary["next"]
        status = run_asyncgg(
            *("status", "--state", location, "--json"),
            home=tmp_path,
            env=program_environment(tmp_path, AWS_ENDPOINT_URL_S3=moto_url),
        )
        assert status.summary["things"] == stopped.summary["things"]
        ended = state.finish()
        assert simulator.query("things")["carried_more_than_once"] == {}
    assert ended.summary["things"]["disassociated"] == len(state.fleet)
    assert "possibly sent" not in ended.err
