"""Tests of the verification of a run."""

from __future__ import annotations

import asyncio
import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncgg.engine import Lane, StopReason
from asyncgg.formatting import format_timestamp
from asyncgg.inventory import ScanOptions
from asyncgg.journal import Certainty, JournalReader, iter_effects
from asyncgg.models import Operation, RunState
from asyncgg.report.verification import format_verification_record, load_verification_record, verification_record_path
from asyncgg.retry_policy import RetryPolicy
from asyncgg.runs.verifier import Verifier
from asyncgg.runs.verify_check import CheckResult, evaluate
from asyncgg.runs.verify_report import Verification, format_verification, verification_to_dict
from asyncgg.simulator import Service
from asyncgg.testing import FixedRate, run_virtual
from tests.support.journal import folder_entries, temporary_folder
from tests.support.runs import (
    associations,
    create_completed_journal,
    create_journal,
    create_undo_journal,
    make_service,
    run_journal,
)
from tests.support.scan import InProcessListing

FLEET = {"core-1": ["a", "b", "c"], "core-2": ["a", "d"], "core-3": []}
PAIRS = [(core, thing) for core, things in FLEET.items() for thing in things]


def make_verifier(journal: Path, service: Service, *, attempts: int = 3, **extra: Any) -> Verifier:
    """A verifier that lists the in-process service."""
    transport = InProcessListing(service, timeout=1.0)
    options = ScanOptions(retry=RetryPolicy(attempts, attempts), stall_timeout=1e9)
    return Verifier(journal, Lane(transport, FixedRate(100.0)), transport, options, threaded=False, **extra)


async def verify_journal(journal: Path, service: Service, **options: Any) -> Verification:
    """Run one verification."""
    return await make_verifier(journal, service, **options).run()


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("certainty", Certainty)
def test_evaluate_reports_mismatches_only_of_done_things(certainty: Certainty, operation: Operation) -> None:
    """Only a thing reported as done can be a mismatch or unchecked, for both operations."""
    expected = operation is Operation.ASSOCIATE
    reported_done = certainty in {Certainty.ACCEPTED, Certainty.CONFIRMED, Certainty.ALREADY_DONE}
    result = [evaluate(certainty, operation, present) for present in (expected, not expected, None)]
    if reported_done:
        assert result == [CheckResult.CONFIRMED, CheckResult.MISMATCH, CheckResult.UNCHECKED]
    else:
        assert result == [CheckResult.DONE_ANYWAY, CheckResult.NOT_DONE, CheckResult.NOT_DONE]


FAULTS = ("500", "500-after", "reset-after", "garbage", "entry", "429")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    things=st.lists(st.sets(st.sampled_from("abcdefgh")), min_size=1, max_size=4),
    faults=st.lists(st.sampled_from(FAULTS), max_size=3, unique=True),
    restored=st.sets(st.tuples(st.integers(0, 3), st.sampled_from("abcdefgh")), max_size=3),
    seed=st.integers(0, 1000),
)
def test_verify_reports_exactly_the_mismatches(
    things: list[set[str]], faults: list[str], restored: set[tuple[int, str]], seed: int
) -> None:
    """With any faults, only things associated again are mismatches."""
    fleet = {f"c{number}": sorted(names) for number, names in enumerate(things)}

    async def scenario(folder: Path) -> None:
        service = make_service(fleet, *(f"{kind}=10%" for kind in faults), seed=seed)
        before = associations(service)
        if not before:
            return
        options: dict[str, Any] = {"attempts": 1_000}
        first = await create_completed_journal(folder / "run", service, before)
        assert (await verify_journal(first, service, out=folder / "1.db", **options)).exit_code == 0
        undo = create_undo_journal(first, folder / "undo")
        await run_journal(undo, service)
        assert (await verify_journal(undo, service, out=folder / "2.db", **options)).exit_code == 0
        second = await verify_journal(first, service, out=folder / "3.db", **options)
        assert (second.exit_code, second.counts.results[CheckResult.MISMATCH]) == (3, len(before))
        await run_journal(create_undo_journal(undo, folder / "again"), service)
        returned = {(f"c{core}", thing) for core, thing in restored} & before
        for core, thing in returned:
            service.fleet.associate(core, thing, 2e9)
        last = await verify_journal(first, service, failures=folder / "mismatches.csv", out=folder / "4.db", **options)
        with (folder / "mismatches.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {(row["core"], row["thing"]) for row in rows} == returned
        assert {row["result"] for row in rows} <= {"associated again"}
        assert last.counts.reassociated == len(returned)
        assert last.exit_code == (3 if returned else 0)

    with temporary_folder() as folder:
        run_virtual(scenario(folder))


@pytest.mark.virtual
async def test_verify_lists_only_changed_cores(tmp_path: Path) -> None:
    """Denied, missing and unsent cores cost no request."""
    service = make_service(FLEET, "deny@core-2")
    first = await create_completed_journal(tmp_path / "run", service, [*PAIRS, ("ghost", "x")])
    service.set_faults(())
    verification = await verify_journal(first, service)
    assert (verification.exit_code, verification.figures.sent, verification.cores["listed"]) == (0, 1, 1)
    assert verification.counts.results == {CheckResult.CONFIRMED: 3, CheckResult.NOT_DONE: 3}
    assert format_verification(verification)[:3] == [
        "verified: the fleet matches the journal",
        "  things     3 of 3 confirmed",
        "  unchecked  3 things that the run did not change",
    ]


@pytest.mark.virtual
async def test_verify_deleted_core_has_no_things(tmp_path: Path) -> None:
    """The things of a deleted core are disassociated; after an undo they are missing."""
    service = make_service(FLEET)
    first = await create_completed_journal(tmp_path / "run", service, PAIRS)
    undo = create_undo_journal(first, tmp_path / "undo")
    await run_journal(undo, service)
    del service.fleet.cores["core-2"], service.fleet.things["core-2"]
    del service.fleet.things["core-1"]["a"]
    verification = await verify_journal(first, service)
    assert (verification.cores["vanished"], verification.counts.results[CheckResult.CONFIRMED]) == (1, 3)
    missing = await verify_journal(undo, service, failures=tmp_path / "mismatches.csv")
    assert (missing.exit_code, missing.counts.results[CheckResult.MISMATCH]) == (3, 3)
    assert (tmp_path / "mismatches.csv").read_text().splitlines()[1:] == [
        "core-1,a,missing,",
        "core-2,a,missing,",
        "core-2,d,missing,",
    ]


@pytest.mark.virtual
async def test_verify_denied_core_is_unchecked(tmp_path: Path) -> None:
    """The things of a denied core are unchecked: exit 4; a mismatch elsewhere is exit 3."""
    service = make_service(FLEET)
    first = await create_completed_journal(tmp_path / "run", service, PAIRS)
    service.set_faults(["deny@core-2"])
    verification = await verify_journal(first, service)
    assert (verification.state, verification.exit_code) == (RunState.PARTIAL, 4)
    assert verification.counts.results == {CheckResult.CONFIRMED: 3, CheckResult.UNCHECKED: 2}
    assert "2 not checked" in format_verification(verification)[1]
    service.fleet.associate("core-1", "b", 1.0)
    assert (await verify_journal(first, service)).exit_code == 3


@pytest.mark.virtual
async def test_verify_unchanged_run_sends_nothing(tmp_path: Path) -> None:
    """Without changes there is no request, and exit 0."""
    verification = await verify_journal(create_journal(tmp_path / "run", PAIRS), make_service(FLEET))
    assert (verification.exit_code, verification.figures.sent) == (0, 0)
    assert format_verification(verification)[0] == "nothing to verify: the run changed nothing"


@pytest.mark.virtual
async def test_verify_reports_failed_things_that_are_already_disassociated(tmp_path: Path) -> None:
    """Things that failed after lost replies are not counted, but reported if disassociated."""
    service = make_service(FLEET, "reset-after@core-2")
    first = create_journal(tmp_path / "run", PAIRS)
    await run_journal(first, service, attempts=1)
    service.set_faults(())
    verification = await verify_journal(first, service)
    assert (verification.exit_code, verification.counts.results) == (
        0,
        {CheckResult.CONFIRMED: 3, CheckResult.DONE_ANYWAY: 2},
    )
    assert "2 already disassociated" in format_verification(verification)[2]


# --- repeated scans ---


@pytest.mark.virtual
@pytest.mark.parametrize(("after", "wait", "code"), [(5.0, 60.0, 0), (5.0, 2.0, 3), (5.0, 0.0, 3), (1e9, 60.0, 3)])
async def test_verify_with_wait_scans_uncertain_cores_again(
    tmp_path: Path, after: float, wait: float, code: int
) -> None:
    """Only uncertain cores are scanned again, until they match or the time has passed."""
    service = make_service(FLEET)
    first = await create_completed_journal(tmp_path / "run", service, PAIRS)
    service.fleet.associate("core-2", "d", 1.0)
    loop = asyncio.get_running_loop()
    loop.call_later(after, service.fleet.disassociate, "core-2", "d")
    started_at = loop.time()
    verification = await verify_journal(first, service, wait=wait, out=tmp_path / "after.db")
    assert verification.exit_code == code
    assert (
        verification.figures.sent == 1 + verification.figures.scans
    )  # the second core in each scan, the first one once
    assert loop.time() - started_at <= wait + 0.5
    assert (verification.figures.scans > 1) == (wait > 0)
    snapshot_names = sorted(path.name for path in verification.snapshots)
    assert snapshot_names == [name for name in folder_entries(first) if name.startswith("after")]
    assert len(snapshot_names) == verification.figures.scans


@pytest.mark.virtual
async def test_verifier_stop_ends_the_wait(tmp_path: Path) -> None:
    """A stop between two scans ends the verification at once, as interrupted."""
    service = make_service(FLEET)
    first = await create_completed_journal(tmp_path / "run", service, PAIRS)
    service.fleet.associate("core-2", "d", 1.0)
    running_verifier = make_verifier(first, service, wait=3600.0)
    started_at = asyncio.get_running_loop().time()
    asyncio.get_running_loop().call_later(
        100.0, running_verifier.stop, StopReason(RunState.INTERRUPTED, "stopped by Ctrl-C")
    )
    verification = await running_verifier.run()
    assert asyncio.get_running_loop().time() - started_at <= 100.5
    assert (verification.state, verification.exit_code, verification.finished) == (RunState.INTERRUPTED, 130, False)
    assert format_verification(verification)[0] == "verification incomplete (interrupted): stopped by Ctrl-C"


@pytest.mark.virtual
async def test_verify_failed_scan_keeps_earlier_mismatches(tmp_path: Path) -> None:
    """A mismatch of the first scan remains if later scans fail or are stopped."""
    for fault, code in (("500@core-2", 3), ("hang", 130)):
        service = make_service(FLEET)
        first = await create_completed_journal(tmp_path / fault[:4], service, PAIRS)
        service.fleet.associate("core-2", "d", 1.0)
        running_verifier = make_verifier(first, service, wait=30.0, failures=tmp_path / "mismatches.csv")
        loop = asyncio.get_running_loop()
        loop.call_later(0.5, service.set_faults, [fault])
        loop.call_later(
            1.6 if fault == "hang" else 600.0, running_verifier.stop, StopReason(RunState.INTERRUPTED, "Ctrl-C")
        )
        verification = await running_verifier.run()
        assert (
            verification.exit_code,
            verification.counts.results[CheckResult.MISMATCH],
            verification.counts.results[CheckResult.UNCHECKED],
        ) == (code, 1, 0)
        assert "core-2,d,still associated" in (tmp_path / "mismatches.csv").read_text()


# --- the record ---


@pytest.mark.virtual
async def test_verification_record_is_valid_until_the_next_request(tmp_path: Path) -> None:
    """A record is valid for its own run while nothing was sent after its start."""
    service = make_service(FLEET)
    first = await create_completed_journal(tmp_path / "run", service, PAIRS)
    document = verification_to_dict(await verify_journal(first, service))
    with JournalReader(first) as reader:
        name = reader.summary().run
        assert len(list(iter_effects(reader))) == 5
    verification_record_path(first).write_text(json.dumps(document))
    assert load_verification_record(first, name, None) == document
    assert load_verification_record(first, name, 1.0) == document
    assert format_verification_record(document).endswith(": 5 of 5 confirmed")
    assert load_verification_record(first, "another", 1.0) is None
    assert load_verification_record(first, name, 4e9) is None
    before, after = (datetime.fromisoformat(document[key]).timestamp() for key in ("started_at", "finished_at"))
    assert load_verification_record(first, name, before) == document
    verification_record_path(first).write_text(json.dumps(document | {"finished_at": format_timestamp(after + 60)}))
    assert load_verification_record(first, name, after + 30) is None  # sent during the scan
    broken = [
        document | {"finished_at": 7},
        document | {"started_at": "noon"},
        document | {"schema": "x"},
        document | {"things": {}},
        [document],
        7,
        None,
    ]
    for text in ("", "{", "\xff", *map(json.dumps, broken)):
        verification_record_path(first).write_text(text, encoding="latin-1")
        assert load_verification_record(first, name, None) is None
    verification_record_path(first).unlink()
    assert load_verification_record(first, name, None) is None
