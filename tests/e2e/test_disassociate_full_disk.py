"""Rule: `asyncgg disassociate` when its disk fills up in the midst of the run, as seen by the service and the journal.

A limit on the size of files (RLIMIT_FSIZE) stands for the full disk: it needs no privilege and ends with the program.
"""

from __future__ import annotations

import re
import resource
from pathlib import Path

from tests.support.journal_queries import CLAIMED, assert_consistent, pairs_in_state, request_count
from tests.support.programs import Program, SimulatorProcess, run_asyncgg

CORES = 250
OPTIONS = {"cores": CORES, "things": 10, "rate": "inf", "latency_ms": 400}
LIMIT = 400_000
"""Bytes of one file: more than the imported journal has, less than the run's WAL would get."""


def _limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


def test_a_disk_that_fills_up_stops_the_run(tmp_path: Path) -> None:
    """Exit 1 and one sentence; nothing is sent without its claim on the disk; later, resume loses nothing."""
    journal = tmp_path / "run.journal"
    with SimulatorProcess(tmp_path, **OPTIONS) as simulator:
        fleet = simulator.associations()
        with Program(
            *("disassociate", simulator.write_manifest(), "--yes", "--quiet", "--journal", journal),
            *("--endpoint-url", simulator.url, "--rate", 100),
            home=tmp_path,
            before_start=_limit_file_size,
        ) as program:
            ended = program.wait()
        assert journal.stat().st_size < LIMIT, "the import did not fit: the test is about the run"
        assert ended.code == 1, ended.describe()
        assert re.fullmatch(rf"error: {journal}: .*disk.*\n(.*\n)?", ended.err), ended.describe()
        assert 0 < simulator.request_count() < CORES, "it did not fail in mid-run"
        assert simulator.request_count() <= request_count(journal), "something was sent without its claim"
        claimed = pairs_in_state(journal, CLAIMED)
        resumed = run_asyncgg("resume", journal, "--yes", "--json", "--rate", 300, home=tmp_path)
        assert resumed.code == 0, resumed.describe()
        assert_consistent(journal, simulator, fleet)
        assert simulator.resent_after_success() <= claimed
