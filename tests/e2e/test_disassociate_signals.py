"""Rule: `asyncgg disassociate`, stopped or disturbed in its midst: signals, a deadline, pipes whose reader left."""

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
    """A run against this simulator, its journal `run.journal`."""
    with Program(
        *("disassociate", simulator.write_manifest(), "--yes", "--journal", "run.journal"),
        *("--endpoint-url", simulator.url, *extra_arguments),
        home=home,
        **options,  # type: ignore[arg-type]  # passed on as it comes
    ) as program:
        yield program


def resume_and_compare(simulator: SimulatorProcess, home: Path) -> None:
    """Resume it, and find nothing lost, nothing invented, nothing sent again after its success."""
    ended = run_asyncgg("resume", "run.journal", "--yes", "--json", "--rate", 300, home=home)
    assert ended.code == 0, ended.describe()
    assert ended.summary["state"] == "complete"
    assert_consistent(home / "run.journal", simulator, _manifest_pairs(home))
    assert simulator.resent_after_success() == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_one_signal_lets_what_is_in_flight_end(number: signal.Signals, tmp_path: Path) -> None:
    """Nothing new is sent, every reply is written down, the exit code is 130, and the next command is told."""
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


def test_a_second_signal_cuts_off_what_is_in_flight(tmp_path: Path) -> None:
    """Requests that hang for a minute are waited for once, cut off at the second signal, and sent again by resume."""
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
        assert ended.code == 0, ended.describe()  # "not found" is taken for done, where the first reply was cut off
        assert_consistent(tmp_path / "run.journal", simulator, _manifest_pairs(tmp_path))
        assert simulator.resent_after_success() == applied


def _manifest_pairs(home: Path) -> set[Pair]:
    rows = (home / "fleet.csv").read_text().splitlines()[1:]
    return {(core, thing) for core, thing in (row.split(",") for row in rows)}


def test_a_signal_in_a_pause_is_heeded_at_once(tmp_path: Path) -> None:
    """A run that waits because the service asked for ten minutes of patience still ends when it is told to."""
    with SimulatorProcess(tmp_path, "429#3-9999", retry_after=600, **OPTIONS) as simulator:
        with running_disassociate(simulator, tmp_path, "--rate", 40, "--concurrency", 4) as program:
            program.wait_for_message("Retry-After 600 s")
            program.signal(signal.SIGTERM)
            ended = program.wait()
        assert ended.code == 130, ended.describe()
        simulator.configure("faults", faults=[])
        resume_and_compare(simulator, tmp_path)


def test_a_signal_during_a_hang_waits_for_the_request_timeout(tmp_path: Path) -> None:
    """One signal while requests hang: they are cut by --request-timeout, and then the run ends."""
    with SimulatorProcess(tmp_path, "hang=100%", **OPTIONS) as simulator:
        with running_disassociate(simulator, tmp_path, "--rate", 40, "--request-timeout", "1s") as program:
            simulator.wait_until(lambda seen: seen["admitted"] >= 2)
            program.signal(signal.SIGINT)
            ended = program.wait()
        assert ended.code == 130, ended.describe()
        simulator.configure("faults", faults=[])
        resume_and_compare(simulator, tmp_path)


def test_nohup_is_respected(tmp_path: Path) -> None:
    """A closed terminal does not stop a run that was started to ignore it."""
    with SimulatorProcess(tmp_path, **OPTIONS) as simulator:
        with running_disassociate(
            *(simulator, tmp_path, "--rate", 60), before_start=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
        ) as program:
            simulator.wait_until(lambda seen: seen["admitted"] >= 3)
            program.signal(signal.SIGHUP)
            ended = program.wait()
        assert ended.code == 0, ended.describe()
        assert not simulator.associations()


def test_a_signal_before_the_first_request_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C while the manifest is still being read: exit 130, one line, no journal, nothing sent."""
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
            while not (tmp_path / "run.journal").exists():
                assert program.process.poll() is None
                time.sleep(0.01)
            time.sleep(0.3)  # until it waits for the rest of the manifest
            program.signal(signal.SIGINT)
            ended = program.wait()
        assert ended.code == 130, ended.describe()
        assert ended.err == "error: interrupted; nothing was sent\n"
        assert simulator.request_count() == 0
    assert not list(tmp_path.glob("run.journal*"))


def test_the_deadline_ends_it(tmp_path: Path) -> None:
    """--deadline: what is in flight ends, the exit code is 10, resume does the rest."""
    with SimulatorProcess(tmp_path, **OPTIONS) as simulator:
        with running_disassociate(simulator, tmp_path, "--rate", 20, "--json", "--deadline", "700ms") as program:
            ended = program.wait()
        assert ended.code == 10, ended.describe()
        assert ended.summary["state"] == "deadline"
        assert ended.summary["things"]["pending"] > 0
        assert not pairs_in_state(tmp_path / "run.journal", CLAIMED)
        journal_says_no_deadline = run_asyncgg(
            *("resume", "run.journal", "--yes", "--json", "--rate", 300, "--deadline", "1h"), home=tmp_path
        )
        assert journal_says_no_deadline.code == 0, journal_says_no_deadline.describe()
        assert simulator.resent_after_success() == set()
        assert not simulator.associations()


def _broken_pipe_at(number: int) -> Callable[[], None]:
    """Before a program starts: make this descriptor a pipe that nobody reads."""

    def before() -> None:
        reading, writing = os.pipe()
        os.dup2(writing, number)
        os.close(reading)
        os.close(writing)

    return before


@pytest.mark.parametrize(
    ("number", "options"), [(1, ("--json",)), (2, ()), (2, ("--log-format", "json"))], ids=["stdout", "stderr", "logs"]
)
def test_a_reader_that_left_does_not_lose_the_run(number: int, options: tuple[str, ...], tmp_path: Path) -> None:
    """`asyncgg disassociate ... | true`: with a closed pipe as output the run goes on to its end all the same."""
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
