"""Tests of asyncgg.tuning.workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from asyncgg.testing import JitteredLatency, Scenario
from asyncgg.tuning.models import Configuration, Workload
from asyncgg.tuning.trial import TrialSetup
from asyncgg.tuning.workers import run_trials

_LONG_TRIALS = """
import tempfile
from pathlib import Path
from asyncgg.testing import Scenario
from asyncgg.tuning import trial
from asyncgg.tuning.models import Configuration, Workload
from asyncgg.tuning.trial import TrialSetup
from asyncgg.tuning.workers import run_trials

if __name__ == "__main__":
    trial._SHARED_MEMORY = Path(tempfile.gettempdir())  # other tests use /dev/shm at the same time
    specs = [(Configuration(30, None, 8, 4), seed) for seed in range(16)]
    run_trials(specs, TrialSetup(Scenario(30, 30), Workload(1_000_000, 10)), jobs=2)
"""


def test_run_trials_depend_on_seed_but_not_on_processes() -> None:
    """One and two processes give the same trials in the same order; another seed differs."""
    setup = TrialSetup(Scenario(30, 30, JitteredLatency(0.08, 0.04)), Workload(40, 10))
    specs = [(Configuration(rate, None, 8, 4), seed) for rate in (20.0, 30.0, 45.0) for seed in range(4)]
    done: list[int] = []
    inline_trials = run_trials(specs, setup, jobs=1, on_trial=done.append)
    assert inline_trials == run_trials(specs, setup, jobs=2)
    assert done == list(range(1, 13))
    assert inline_trials[0] != inline_trials[1]


def test_run_trials_killed_parent_ends_workers_and_removes_files(tmp_path: Path) -> None:
    """After SIGKILL of the parent, its workers exit and remove the temporary folder."""
    (tmp_path / "trials.py").write_text(_LONG_TRIALS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, tmp_path / "trials.py"], env=environment, stderr=subprocess.PIPE) as parent:
        wait_until(lambda: len(list(tmp_path.glob("asyncgg-tune-*/trial-*.journal"))) == 2)
        parent.kill()
        assert parent.stderr is not None
        parent.stderr.read()  # ends when the workers, which inherit the pipe, have ended
    assert not list(tmp_path.glob("asyncgg-tune-*"))


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
