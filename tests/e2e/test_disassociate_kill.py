"""Tests of kill -9 during `asyncgg disassociate` and `asyncgg resume`, and of the recovery."""

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
"""Kills of each scenario while things are pending, in addition to one in the import and one in the closing phase."""
RANDOM_KILLS = 5
OPTIONS = {"cores": 110, "things": 20, "latency_ms": 40, "rate": "inf", "missing_things": 30, "missing_cores": 2}


@dataclass
class KillReport:
    """The result of a scenario."""

    kills: int = 0
    partial_kills: int = 0
    """Kills after which the journal had both disassociated and pending things."""
    killed_in_import: bool = False
    killed_in_close: int = 0
    in_flight: set[Pair] = field(default_factory=set)
    """Things that were claimed at a kill."""


class KillScenario:
    """One journal that is killed many times, and the simulator of its run."""

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
        """Start `disassociate`, or `resume` if the journal exists."""
        if not self.journal.exists():
            return Program(
                *("disassociate", self.manifest, "--yes", "--json", "--journal", self.journal),
                # A slow rate: a late kill must still hit the run.
                *("--endpoint-url", self.simulator.url, "--rate", 60, "--concurrency", 24),
                home=self.home,
            )
        return Program("resume", self.journal, "--yes", "--json", home=self.home)

    def kill(self, program: Program) -> None:
        """Kill the program and record the state of the journal."""
        program.kill()
        program.wait()
        self.report.kills += 1
        if self.journal.exists():
            assert is_import_finished(self.journal)
            recorded = thing_states(self.journal)
            self.report.in_flight |= {pair for pair, state in recorded.items() if state == CLAIMED}
            self.report.partial_kills += {DONE, PENDING} <= set(recorded.values())
        else:
            assert self.simulator.request_count() == 0

    def kill_import(self) -> None:
        """Kill the import while it waits for the second half of its manifest."""
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
            draft = self.journal.with_name("run.journal.draft")
            program.wait_until(lambda: draft.exists() and draft.stat().st_size >= 4096)
            self.kill(program)
        self.report.killed_in_import = draft.exists() and not self.journal.exists()

    def kill_midway(self) -> None:
        """Kill the run after 1 to 16 more requests."""
        target = self.simulator.request_count() + self.rng.randint(1, 16)
        with self.start_or_resume() as program:
            self.simulator.wait_until(lambda seen: seen["admitted"] >= target, program)
            time.sleep(self.rng.uniform(0, 0.03))
            self.kill(program)

    def kill_close(self) -> None:
        """Kill the run after the last reply: before, during or after the close of the journal."""
        with self.start_or_resume() as program:
            self.simulator.wait_until(lambda seen: seen["disassociated"] == len(self.fleet), program)
            time.sleep(self.rng.uniform(0, 0.1))
            self.report.killed_in_close += program.process.poll() is None
            self.kill(program)

    def kill_at_random_time(self) -> None:
        """Kill the program at a random time, possibly during its import."""
        with self.start_or_resume() as program:
            time.sleep(self.rng.uniform(0.0, 0.6))
            self.kill(program)

    def finish_and_compare(self) -> None:
        """Complete the run, and compare journal and service."""
        with self.start_or_resume() as program:
            ended = program.wait()
        assert ended.code == 3, ended.describe()  # the associations that do not exist fail
        assert ended.summary["things"]["pending"] == 0
        assert not self.journal.with_name("run.journal.draft").exists()
        assert_consistent(self.journal, self.simulator, self.fleet, self.nonexistent)
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


BACKGROUND_RUNS = {"random": partial(_run_random_scenario, seed=99)} | {
    f"killed-{seed}": partial(_run_scenario, seed=seed) for seed in SEEDS
}


@pytest.mark.parametrize("seed", SEEDS)
def test_resume_after_many_kills_matches_the_service(
    background_runs: Mapping[str, Future[KillReport]], seed: int
) -> None:
    """After kills in the import, during the run and at its end, journal and service agree."""
    report = background_runs[f"killed-{seed}"].result()
    assert report.killed_in_import
    assert report.kills == KILLS + 2
    assert report.partial_kills >= KILLS // 2, "too few kills hit a partly completed run"


def test_resume_after_kills_at_random_times_matches_the_service(
    background_runs: Mapping[str, Future[KillReport]],
) -> None:
    """After kills at times independent of the progress, journal and service agree."""
    assert background_runs["random"].result().kills == RANDOM_KILLS


def test_kill_scenarios_include_the_closing_phase(background_runs: Mapping[str, Future[KillReport]]) -> None:
    """At least one scenario was killed between its last reply and the end of its process."""
    assert sum(background_runs[f"killed-{seed}"].result().killed_in_close for seed in SEEDS) >= 1


@pytest.mark.parametrize("command", [("status",), ("report",), ("resume", "--yes")])
def test_command_after_kill_with_rollback_journal_rolls_back(command: tuple[str, ...], tmp_path: Path) -> None:
    """The first command rolls back a rollback journal that a killed process left."""
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
