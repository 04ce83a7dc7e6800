"""Tests of `asyncgg disassociate` with a disk that becomes full during the run."""

from __future__ import annotations

import re
import resource
from pathlib import Path

from tests.support.journal_queries import CLAIMED, assert_consistent, pairs_in_state, request_count
from tests.support.programs import Program, SimulatorProcess, run_asyncgg

CORES = 250
OPTIONS = {"cores": CORES, "things": 10, "rate": "inf", "latency_ms": 150}
LIMIT = 400_000
"""Maximum file size in bytes: larger than the imported journal, smaller than the WAL of the run."""


def _limit_file_size() -> None:
    # A limit on file sizes simulates the full disk: it needs no privilege and ends with the process.
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


def test_disassociate_full_disk_exits_1_and_resumes(tmp_path: Path) -> None:
    """The exit code is 1, every sent request has its claim on disk, and `resume` completes the run."""
    journal = tmp_path / "run.journal"
    with SimulatorProcess(tmp_path, **OPTIONS) as simulator:
        fleet = simulator.associations()
        with Program(
            *("disassociate", simulator.write_manifest(), "--yes", "--quiet", "--journal", journal),
            *("--endpoint-url", simulator.url, "--rate", 300),
            home=tmp_path,
            before_start=_limit_file_size,
        ) as program:
            ended = program.wait()
        assert journal.stat().st_size < LIMIT, "the import exceeded the limit; the run must exceed it"
        assert ended.code == 1, ended.describe()
        assert re.fullmatch(rf"error: {journal}: .*disk.*\n(.*\n)?", ended.err), ended.describe()
        assert 0 < simulator.request_count() < CORES, "the run did not fail between its first and last request"
        assert simulator.request_count() <= request_count(journal), "a request was sent without its claim"
        claimed = pairs_in_state(journal, CLAIMED)
        resumed = run_asyncgg("resume", journal, "--yes", "--json", "--rate", 300, home=tmp_path)
        assert resumed.code == 0, resumed.describe()
        assert_consistent(journal, simulator, fleet)
        assert simulator.resent_after_success() <= claimed
