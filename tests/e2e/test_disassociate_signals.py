"""Tests of `asyncgg disassociate` with signals, a deadline and closed pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.journal_queries import CLAIMED, DONE, assert_consistent, pairs_in_state
from tests.support.programs import Pair, Program, SimulatorProcess, run_asyncgg

OPTIONS = {"cores": 60, "things": 10, "rate": "inf", "latency_ms": 150}


@contextmanager
def running_disassociate(
    simulator: SimulatorProcess, home: Path, *extra_arguments: object, **options: object
) -> Iterator[Program]:
    """Run `disassociate` against the simulator, with the journal `run.journal`."""
    with Program(
        *("disassociate", simulator.write_manifest(), "--yes", "--journal", "run.journal"),
        *("--endpoint-url", simulator.url, *extra_arguments),
        home=home,
        **options,  # type: ignore[arg-type]  # Program checks them
    ) as program:
        yield program


def resume_and_compare(simulator: SimulatorProcess, home: Path) -> None:
    """Resume the run; journal and service must agree, and no thing may be sent again after its success."""
    ended = run_asyncgg("resume", "run.journal", "--yes", "--json", "--rate", 300, home=home)
    assert ended.code == 0, ended.describe()
    assert ended.summary["state"] == "complete"
    assert_consistent(home / "run.journal", simulator, _manifest_pairs(home))
    assert simulator.resent_after_success() == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_disassociate_one_signal_waits_for_in_flight_requests(number: signal.Signals, tmp_path: Path) -> None:
    """No new request is sent, every reply is recorded, the exit code is 130, and the message names `resume`."""
    with SimulatorProcess(tmp_path, **OPTIONS) as simulator:
        with running_disassociate(simulator, tmp_path, "--rate", 40, "--json") as program:
            simulator.wait_until(lambda seen: seen["admitted"] >= 8)
            program.signal(number)
            ended = program.wait()
        assert ended.code == 130, ended.describe()
        assert ended.summary["state"] == "interrupted"
        assert ended.summary["things"]["pending"] > 0
        assert "asyncgg resume" in ended.err, ended.describe()
        assert not pairs_in_state(tmp_path / "run.journal", CLAIMED)
        assert len(pairs_in_state(tmp_path / "run.journal", DONE)) == simulator.request_count() * 10
        if number is signal.SIGINT:
            resume_and_compare(simulator, tmp_path)


def test_disassociate_second_signal_aborts_in_flight_requests(tmp_path: Path) -> None:
    """The second signal aborts requests that hang, and `resume` sends their things again."""
    with SimulatorProcess(tmp_path, "hang-after=100%", **OPTIONS) as simulator:
        with running_disassociate(simulator, tmp_path, "--rate", 40, "--request-timeout", "1h") as program:
            simulator.wait_until(lambda seen: seen["admitted"] >= 4)
            program.signal(signal.SIGINT)
            program.wait_for_message("stopping .*waiting for in-flight requests")
            with pytest.raises(subprocess.TimeoutExpired):
                program.process.wait(0.5)
            program.signal(signal.SIGINT)
            ended = program.wait()
        assert ended.code == 130, ended.describe()
        assert "asyncgg resume" in ended.err + ended.out, ended.describe()
        assert "Traceback" not in ended.err
        assert not pairs_in_state(tmp_path / "run.journal", CLAIMED)
        assert simulator.resent_after_success() == set()
        simulator.configure("faults", faults=[])
        applied = _manifest_pairs(tmp_path) - simulator.associations()
        assert applied
        ended = run_asyncgg("resume", "run.journal", "--yes", "--json", "--rate", 300, home=tmp_path)
        assert ended.code == 0, ended.describe()  # "not found" counts as done after a lost reply
        assert_consistent(tmp_path / "run.journal", simulator, _manifest_pairs(tmp_path))
        assert simulator.resent_after_success() == applied


def _manifest_pairs(home: Path) -> set[Pair]:
    rows = (home / "fleet.csv").read_text().splitlines()[1:]
    return {(core, thing) for core, thing in (row.split(",") for row in rows)}


def test_disassociate_signal_during_pause_stops_at_once(tmp_path: Path) -> None:
    """A signal ends a run that waits for a Retry-After of ten minutes, limited by --stall-timeout."""
    with SimulatorProcess(tmp_path, "429#3-9999", retry_after=600, **OPTIONS) as simulator:
        with running_disassociate(simulator, tmp_path, "--rate", 40, "--concurrency", 4) as program:
            program.wait_for_message("paused for 300.0 s: throttled, Retry-After received")
            program.signal(signal.SIGTERM)
            ended = program.wait()
        assert ended.code == 130, ended.describe()
        simulator.configure("faults", faults=[])
        resume_and_compare(simulator, tmp_path)


def test_disassociate_signal_during_hang_waits_for_request_timeout(tmp_path: Path) -> None:
    """After one signal, requests that hang end at --request-timeout, and then the run ends."""
    with SimulatorProcess(tmp_path, "hang=100%", **OPTIONS) as simulator:
        with running_disassociate(simulator, tmp_path, "--rate", 40, "--request-timeout", "1s") as program:
            simulator.wait_until(lambda seen: seen["admitted"] >= 2)
            program.signal(signal.SIGINT)
            ended = program.wait()
        assert ended.code == 130, ended.describe()
        simulator.configure("faults", faults=[])
        resume_and_compare(simulator, tmp_path)


def test_disassociate_under_nohup_ignores_sighup(tmp_path: Path) -> None:
    """SIGHUP does not stop a run that was started with SIGHUP ignored."""
    with SimulatorProcess(tmp_path, **OPTIONS) as simulator:
        with running_disassociate(
            *(simulator, tmp_path, "--rate", 60), before_start=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
        ) as program:
            simulator.wait_until(lambda seen: seen["admitted"] >= 3)
            program.signal(signal.SIGHUP)
            ended = program.wait()
        assert ended.code == 0, ended.describe()
        assert not simulator.associations()


def test_disassociate_signal_during_import_leaves_no_journal(tmp_path: Path) -> None:
    """Ctrl-C during the import: exit code 130, a message of one line, no journal, no request."""
    reading, writing = os.pipe()
    with (
        SimulatorProcess(tmp_path, **OPTIONS) as simulator,
        os.fdopen(reading, "rb") as stdin,
        os.fdopen(writing, "wb") as pipe,
    ):
        with Program(
            *("disassociate", "-", "--yes", "--journal", "run.journal", "--endpoint-url", simulator.url),
            home=tmp_path,
            stdin=stdin,
        ) as program:
            pipe.write(b"core,thing\ncore-1,thing-1\n")
            pipe.flush()
            program.wait_until((tmp_path / "run.journal.draft").exists)
            time.sleep(0.3)  # until the import waits for the rest of the manifest
            program.signal(signal.SIGINT)
            ended = program.wait()
        assert ended.code == 130, ended.describe()
        assert ended.err == "error: interrupted; nothing was sent\n"
        assert simulator.request_count() == 0
    assert not list(tmp_path.glob("run.journal*"))


def test_disassociate_deadline_exits_10_and_resumes(tmp_path: Path) -> None:
    """At the deadline in-flight requests end, the exit code is 10, and `resume` completes the run."""
    with SimulatorProcess(tmp_path, **OPTIONS) as simulator:
        with running_disassociate(simulator, tmp_path, "--rate", 20, "--json", "--deadline", "700ms") as program:
            ended = program.wait()
        assert ended.code == 10, ended.describe()
        assert ended.summary["state"] == "deadline"
        assert ended.summary["things"]["pending"] > 0
        assert not pairs_in_state(tmp_path / "run.journal", CLAIMED)
        resumed = run_asyncgg(
            *("resume", "run.journal", "--yes", "--json", "--rate", 300, "--deadline", "1h"), home=tmp_path
        )
        assert resumed.code == 0, resumed.describe()
        assert simulator.resent_after_success() == set()
        assert not simulator.associations()


def _broken_pipe_at(number: int) -> Callable[[], None]:
    """Returns a function that replaces the descriptor by a pipe without a reader."""

    def replace_descriptor() -> None:
        reading, writing = os.pipe()
        os.dup2(writing, number)
        os.close(reading)
        os.close(writing)

    return replace_descriptor


@pytest.mark.parametrize(
    ("number", "options"), [(1, ("--json",)), (2, ()), (2, ("--log-format", "json"))], ids=["stdout", "stderr", "logs"]
)
def test_disassociate_closed_output_pipe_completes(number: int, options: tuple[str, ...], tmp_path: Path) -> None:
    """The run completes if its output is a closed pipe, as in `asyncgg disassociate ... | true`."""
    with SimulatorProcess(tmp_path, **OPTIONS) as simulator:
        with running_disassociate(
            simulator, tmp_path, "--rate", 300, *options, before_start=_broken_pipe_at(number)
        ) as program:
            ended = program.wait()
        assert "Traceback" not in ended.err, ended.describe()
        assert "Exception ignored" not in ended.err, ended.describe()
        assert not simulator.associations()
        assert len(pairs_in_state(tmp_path / "run.journal", DONE)) == 600
        assert ended.code == 0, ended.describe()
