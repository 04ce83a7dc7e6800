"""Tests of `asyncgg disassociate` against a simulator with every kind of fault."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

from benchmarks.faults import ALL_FAULTS
from tests.support.journal_queries import assert_consistent
from tests.support.programs import SimulatorProcess, run_asyncgg


def _run_with_all_faults(home: Path) -> None:
    options = {"cores": 120, "things": 100, "latency_ms": 20, "rate": "inf", "seed": 7}
    with SimulatorProcess(home, *ALL_FAULTS, **options) as simulator:
        fleet = simulator.associations()
        manifest, journal = simulator.write_manifest(), home / "run.journal"
        connection = ["--endpoint-url", simulator.url, "--rate", 400, "--request-timeout", "1s"]
        ended = run_asyncgg("disassociate", manifest, "--yes", "--json", "--journal", journal, *connection, home=home)
        assert ended.code == 0, ended.describe()
        assert_consistent(journal, simulator, fleet)
        injected = {spec.partition("=")[0].partition(":")[0] for spec in simulator.query("counters")["faults"]}
        sent = simulator.request_count()
    summary = ended.summary
    assert summary["state"] == "complete"
    things = summary["things"]
    assert things["disassociated"] + things["already"] == things["total"] == len(fleet) == 12_000
    assert 0 < things["already"] < 6_000  # applied by a request whose reply was lost
    assert {"500", "500-after", "reset-before", "reset-after", "garbage", "entry"} <= injected, (
        "a kind of fault was not injected"
    )
    assert summary["requests"]["sent"] == sent
    # 5 failing entries of 100 need a second request for nearly each core, and some a third.
    assert sent <= 4 * summary["requests"]["minimum"], f"{sent} requests"


BACKGROUND_RUNS = {"faults": _run_with_all_faults}


def test_disassociate_with_every_fault_completes(background_runs: Mapping[str, Future[None]]) -> None:
    """Every thing of the manifest ends disassociated, and no other thing is recorded."""
    background_runs["faults"].result()
