"""Rule: kill -9 in the midst of `asyncgg disassociate` and `asyncgg resume`, then on as the messages say.

A story is one journal killed many times: while it is imported, at seeded random moments while it runs, and when its
last reply is in. In the end journal and service must agree exactly, and nothing may have been sent again after its
success but what was in flight at a kill. The stories run side by side, for they mostly wait for a program's start.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.support.journal_queries import CLAIMED, DONE, PENDING, assert_consistent, is_import_finished, thing_states
from tests.support.programs import Pair, Program, SimulatorProcess, run_asyncgg

SEEDS = (1, 2)
KILLS = 6
"""Of each story, while things are pending; one in the import and one in the closing phase come on top."""
RANDOM_KILLS = 5
OPTIONS = {"cores": 110, "things": 20, "latency_ms": 40, "rate": "inf", "missing_things": 30, "missing_cores": 2}


@dataclass
class KillReport:
    """What a story came to."""

    kills: int = 0
    partial_kills: int = 0
    """Kills that found things both done and pending."""
    killed_in_import: bool = False
    killed_in_close: int = 0
    in_flight: set[Pair] = field(default_factory=set)
    """Claimed at some kill."""


class KillScenario:
    """One journal and the service it is run against."""

    def __init__(self, home: Path, seed: int, simulator: SimulatorProcess) -> None:
        self.home, self.simulator = home, simulator
        self.rng = random.Random(seed)
        self.journal = home / "run.journal"
        self.manifest = simulator.write_manifest()
        self.fleet = simulator.associations()
        rows = self.manifest.read_text().splitlines()[1:]
        self.nonexistent = {(core, thing) for core, thing in (row.split(",") for row in rows)} - self.fleet
        self.report = KillReport()

    def start_or_resume(self) -> Program:
        """The command that the journal's state calls for."""
        if not self.journal.exists():
            return Program(
                *("disassociate", self.manifest, "--yes", "--json", "--journal", self.journal),
                *("--endpoint-url", self.simulator.url, "--rate", 250, "--concurrency", 24),
                home=self.home,
            )
        return Program("resume", self.journal, "--yes", "--json", home=self.home)

    def kill(self, program: Program) -> None:
        """Kill it and note what it left."""
        program.kill()
        program.wait()
        self.report.kills += 1
        if self.journal.exists() and is_import_finished(self.journal):
            recorded = thing_states(self.journal)
            self.report.in_flight |= {pair for pair, state in recorded.items() if state == CLAIMED}
            self.report.partial_kills += {DONE, PENDING} <= set(recorded.values())
        elif self.journal.exists():  # the message of `resume` says: delete it and start again
            refused = run_asyncgg("resume", self.journal, "--yes", home=self.home)
            assert refused.code == 2, refused.describe()
            assert "is incomplete" in refused.err
            assert self.simulator.request_count() == 0
            self.journal.unlink()
            self.journal.with_name("run.journal-journal").unlink(missing_ok=True)

    def kill_import(self) -> None:
        """Kill it while it waits for the second half of its manifest."""
        reading, writing = os.pipe()
        with (
            os.fdopen(reading, "rb") as stdin,
            os.fdopen(writing, "wb") as first_half,
            Program(
                *("disassociate", "-", "--yes", "--journal", self.journal, "--endpoint-url", self.simulator.url),
                home=self.home,
                stdin=stdin,
            ) as program,
        ):
            text = self.manifest.read_bytes()
            first_half.write(text[: len(text) // 2])
            first_half.flush()
            while not self.journal.exists() or self.journal.stat().st_size < 4096:
                assert program.process.poll() is None
                time.sleep(0.005)
            self.kill(program)
        self.report.killed_in_import = not self.journal.exists()

    def kill_midway(self) -> None:
        """Kill it some requests further on."""
        target = self.simulator.request_count() + self.rng.randint(1, 16)
        with self.start_or_resume() as program:
            self.simulator.wait_until(lambda seen: seen["admitted"] >= target, program)
            time.sleep(self.rng.uniform(0, 0.03))
            self.kill(program)

    def kill_close(self) -> None:
        """Kill it when the service has answered everything, before or while or after the journal is closed."""
        with self.start_or_resume() as program:
            self.simulator.wait_until(lambda seen: seen["disassociated"] == len(self.fleet), program)
            time.sleep(self.rng.uniform(0, 0.1))
            self.report.killed_in_close += program.process.poll() is None
            self.kill(program)

    def kill_at_random_time(self) -> None:
        """Kill it at any time after its start, the start itself included."""
        with self.start_or_resume() as program:
            time.sleep(self.rng.uniform(0.2, 2.0))
            self.kill(program)

    def finish_and_compare(self) -> None:
        """Let it end, and compare journal and service."""
        with self.start_or_resume() as program:
            ended = program.wait()
        assert ended.code == 3, ended.describe()  # the ghosts fail
        assert ended.summary["things"]["pending"] == 0
        assert_consistent(self.journal, self.simulator, self.fleet, self.nonexistent, ambiguous=self.report.in_flight)
        assert self.simulator.resent_after_success() <= self.report.in_flight


def _run_scenario(home: Path, seed: int) -> KillReport:
    with SimulatorProcess(home, seed=seed, **OPTIONS) as simulator:
        scenario = KillScenario(home, seed, simulator)
        scenario.kill_import()
        for _ in range(KILLS):
            scenario.kill_midway()
        scenario.kill_close()
        scenario.finish_and_compare()
        return scenario.report


def _run_random_scenario(home: Path, seed: int) -> KillReport:
    with SimulatorProcess(home, seed=seed, **OPTIONS) as simulator:
        scenario = KillScenario(home, seed, simulator)
        for _ in range(RANDOM_KILLS):
            scenario.kill_at_random_time()
        scenario.finish_and_compare()
        return scenario.report


STORIES = {"blind": partial(_run_random_scenario, seed=99)} | {
    f"killed-{seed}": partial(_run_scenario, seed=seed) for seed in SEEDS
}


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_again_and_again(stories: Mapping[str, Future[KillReport]], seed: int) -> None:
    """After kills in the import, in mid-run and at the end, resume brings journal and service to the same truth."""
    report = stories[f"killed-{seed}"].result()
    assert report.killed_in_import
    assert report.kills == KILLS + 2
    assert report.partial_kills >= KILLS // 2, "too few kills hit a run in its midst"


def test_killed_at_any_time(stories: Mapping[str, Future[KillReport]]) -> None:
    """The same holds for kills at moments that know nothing of the run."""
    assert stories["blind"].result().kills == RANDOM_KILLS


def test_the_closing_phase_was_hit(stories: Mapping[str, Future[KillReport]]) -> None:
    """At least one story was killed between its last answer and its process's end."""
    assert sum(stories[f"killed-{seed}"].result().killed_in_close for seed in SEEDS) >= 1


@pytest.mark.parametrize("command", [("status",), ("report",), ("resume", "--yes")])
def test_killed_between_two_journal_modes(command: tuple[str, ...], tmp_path: Path) -> None:
    """A rollback journal that a kill left beside the file is rolled back by whatever command comes first."""
    with SimulatorProcess(tmp_path, cores=3, things=200, rate="inf", latency_ms=0) as simulator:
        whole, journal = tmp_path / "whole.journal", tmp_path / "run.journal"
        limits = ["--endpoint-url", simulator.url, "--deadline", "1ms"]
        first_run = run_asyncgg(
            "disassociate", simulator.write_manifest(), "--yes", "--journal", whole, *limits, home=tmp_path
        )
        assert first_run.code == 10, first_run.describe()
        before = thing_states(whole)
        with closing(sqlite3.connect(whole, isolation_level=None)) as connection:
            connection.execute("PRAGMA cache_size = 1")  # so that changed pages reach the file before the commit
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "INSERT OR REPLACE INTO override SELECT id, 3, 1, 0, 1, NULL, 'X', printf('%500d', id) FROM name"
            )
            shutil.copy(whole, journal)
            shutil.copy(tmp_path / "whole.journal-journal", tmp_path / "run.journal-journal")
            connection.execute("ROLLBACK")
        assert journal.stat().st_size > whole.stat().st_size, "nothing to roll back"
        ended = run_asyncgg(command[0], journal, *command[1:], home=tmp_path)
    assert "error" not in ended.err, ended.describe()
    after = thing_states(journal)
    if command[0] == "resume":
        assert ended.code == 10, ended.describe()
    else:
        assert after == before
    assert set(after) == set(before)
