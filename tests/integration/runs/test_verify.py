"""Rule: what a verification finds, counts, waits for and proves."""

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
from asyncgg.ratelimit import FixedRate
from asyncgg.report.verified import format_verification_record, load_verification_record, verification_record_path
from asyncgg.retry_policy import RetryPolicy
from asyncgg.runs.verifier import Verifier
from asyncgg.runs.verify_check import CheckResult, evaluate
from asyncgg.runs.verify_report import Verification, format_verification, verification_to_dict
from asyncgg.simulator import Service
from asyncgg.testing import run_virtual
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
    """One that looks at the service in this process."""
    transport = InProcessListing(service, timeout=1.0)
    options = ScanOptions(retry=RetryPolicy(attempts, attempts), stall_timeout=1e9)
    return Verifier(journal, Lane(transport, FixedRate(100.0)), transport, options, threaded=False, **extra)


async def verify_journal(journal: Path, service: Service, **options: Any) -> Verification:
    """What one verification came to."""
    return await make_verifier(journal, service, **options).run()


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("sureness", Certainty)
def test_findings(sureness: Certainty, operation: Operation) -> None:
    """Only what the journal calls done can be left or unseen; the operation says which way is right."""
    expected = operation is Operation.ASSOCIATE
    claimed = sureness in {Certainty.ACCEPTED, Certainty.CONFIRMED, Certainty.ALREADY_DONE}
    result = [evaluate(sureness, operation, present) for present in (expected, not expected, None)]
    if claimed:
        assert result == [CheckResult.CONFIRMED, CheckResult.MISMATCH, CheckResult.UNCHECKED]
    else:
        assert result == [CheckResult.DONE_ANYWAY, CheckResult.NOT_DONE, CheckResult.NOT_DONE]


FAULTS = ("500", "500-after", "reset-after", "garbage", "entry", "429")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    things=st.lists(st.sets(st.sampled_from("abcdefgh")), min_size=1, max_size=4),
    faults=st.lists(st.sampled_from(FAULTS), max_size=3, unique=True),
    back=st.sets(st.tuples(st.integers(0, 3), st.sampled_from("abcdefgh")), max_size=3),
    seed=st.integers(0, 1000),
)
def test_it_finds_exactly_what_is_not_as_said(
    things: list[set[str]], faults: list[str], back: set[tuple[int, str]], seed: int
) -> None:
    """Whatever failed on the way, a verification finds all done things gone; and after somebody associated some again,
    exactly those; the undo of the run is verified likewise."""
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
        returned = {(f"c{core}", thing) for core, thing in back} & before
        for core, thing in returned:
            service.fleet.associate(core, thing, 2e9)
        last = await verify_journal(first, service, failures=folder / "left.csv", out=folder / "4.db", **options)
        with (folder / "left.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {(row["core"], row["thing"]) for row in rows} == returned
        assert {row["result"] for row in rows} <= {"there again"}
        assert last.counts.reassociated == len(returned)
        assert last.exit_code == (3 if returned else 0)

    with temporary_folder() as folder:
        run_virtual(scenario(folder))


@pytest.mark.virtual
async def test_only_touched_cores_are_listed(tmp_path: Path) -> None:
    """Cores of which nothing was changed cost no request: denied ones, missing ones, ones never reached."""
    service = make_service(FLEET, "deny@core-2")
    first = await create_completed_journal(tmp_path / "run", service, [*PAIRS, ("ghost", "x")])
    service.set_faults(())
    done = await verify_journal(first, service)
    assert (done.exit_code, done.figures.sent, done.cores["listed"]) == (0, 1, 1)
    assert done.counts.results == {CheckResult.CONFIRMED: 3, CheckResult.NOT_DONE: 3}
    assert format_verification(done)[:3] == [
        "verified: everything the run disassociated is gone",
        "  things     3 of 3 gone",
        "  not done   3 that failed or were not sent, not counted",
    ]


@pytest.mark.virtual
async def test_a_core_that_vanished_holds_nothing(tmp_path: Path) -> None:
    """A core that is no more has no client devices: its things are gone; what was associated with it is missing."""
    service = make_service(FLEET)
    first = await create_completed_journal(tmp_path / "run", service, PAIRS)
    undo = create_undo_journal(first, tmp_path / "undo")
    await run_journal(undo, service)
    del service.fleet.cores["core-2"], service.fleet.things["core-2"]
    del service.fleet.things["core-1"]["a"]
    done = await verify_journal(first, service)
    assert (done.cores["vanished"], done.counts.results[CheckResult.CONFIRMED]) == (1, 3)
    missing = await verify_journal(undo, service, failures=tmp_path / "left.csv")
    assert (missing.exit_code, missing.counts.results[CheckResult.MISMATCH]) == (3, 3)
    assert (tmp_path / "left.csv").read_text().splitlines()[1:] == [
        "core-1,a,missing,",
        "core-2,a,missing,",
        "core-2,d,missing,",
    ]


@pytest.mark.virtual
async def test_what_could_not_be_seen_is_not_verified(tmp_path: Path) -> None:
    """A denied core leaves its things unseen: exit 4, however good the rest; something left elsewhere makes it 3."""
    service = make_service(FLEET)
    first = await create_completed_journal(tmp_path / "run", service, PAIRS)
    service.set_faults(["deny@core-2"])
    done = await verify_journal(first, service)
    assert (done.state, done.exit_code) == (RunState.PARTIAL, 4)
    assert done.counts.results == {CheckResult.CONFIRMED: 3, CheckResult.UNCHECKED: 2}
    assert "2 not seen" in format_verification(done)[1]
    service.fleet.associate("core-1", "b", 1.0)
    assert (await verify_journal(first, service)).exit_code == 3


@pytest.mark.virtual
async def test_a_run_that_changed_nothing(tmp_path: Path) -> None:
    """There is nothing to look at: no request, exit 0."""
    done = await verify_journal(create_journal(tmp_path / "run", PAIRS), make_service(FLEET))
    assert (done.exit_code, done.figures.sent) == (0, 0)
    assert format_verification(done)[0] == "nothing to verify: the run changed nothing"


@pytest.mark.virtual
async def test_doubtful_things_may_be_gone_all_the_same(tmp_path: Path) -> None:
    """What failed after lost replies is not counted, but told when it is gone."""
    service = make_service(FLEET, "reset-after@core-2")
    first = create_journal(tmp_path / "run", PAIRS)
    await run_journal(first, service, attempts=1)
    service.set_faults(())
    done = await verify_journal(first, service)
    assert (done.exit_code, done.counts.results) == (0, {CheckResult.CONFIRMED: 3, CheckResult.DONE_ANYWAY: 2})
    assert "2 of them gone all the same" in format_verification(done)[2]


# --- waiting ---


@pytest.mark.virtual
@pytest.mark.parametrize(("after", "wait", "code"), [(5.0, 60.0, 0), (5.0, 2.0, 3), (5.0, 0.0, 3), (1e9, 60.0, 3)])
async def test_waiting(tmp_path: Path, after: float, wait: float, code: int) -> None:
    """Cores in doubt are looked at again, and only those, until all is well or the time is over."""
    service = make_service(FLEET)
    first = await create_completed_journal(tmp_path / "run", service, PAIRS)
    service.fleet.associate("core-2", "d", 1.0)
    loop = asyncio.get_running_loop()
    loop.call_later(after, service.fleet.disassociate, "core-2", "d")
    started_at = loop.time()
    done = await verify_journal(first, service, wait=wait, out=tmp_path / "after.db")
    assert done.exit_code == code
    assert done.figures.sent == 1 + done.figures.scans  # the second core in each look, the first one once
    assert loop.time() - started_at <= wait + 0.5
    assert (done.figures.scans > 1) == (wait > 0)
    snapshot_names = sorted(path.name for path in done.snapshots)
    assert snapshot_names == [name for name in folder_entries(first) if name.startswith("after")]
    assert len(snapshot_names) == done.figures.scans


@pytest.mark.virtual
async def test_a_stop_ends_the_waiting(tmp_path: Path) -> None:
    """Stopped between two looks it ends at once, as interrupted, and proves nothing."""
    service = make_service(FLEET)
    first = await create_completed_journal(tmp_path / "run", service, PAIRS)
    service.fleet.associate("core-2", "d", 1.0)
    running_verifier = make_verifier(first, service, wait=3600.0)
    started_at = asyncio.get_running_loop().time()
    asyncio.get_running_loop().call_later(
        100.0, running_verifier.stop, StopReason(RunState.INTERRUPTED, "stopped by Ctrl-C")
    )
    done = await running_verifier.run()
    assert asyncio.get_running_loop().time() - started_at <= 100.5
    assert (done.state, done.exit_code, done.finished) == (RunState.INTERRUPTED, 130, False)
    assert format_verification(done)[0] == "not verified, the looking ended early (interrupted): stopped by Ctrl-C"


@pytest.mark.virtual
async def test_a_look_that_does_not_get_there_takes_nothing_back(tmp_path: Path) -> None:
    """What the first look found left stays left, and in the list, though later ones fail or are stopped."""
    for fault, code in (("500@core-2", 3), ("hang", 130)):
        service = make_service(FLEET)
        first = await create_completed_journal(tmp_path / fault[:4], service, PAIRS)
        service.fleet.associate("core-2", "d", 1.0)
        running_verifier = make_verifier(first, service, wait=30.0, failures=tmp_path / "left.csv")
        loop = asyncio.get_running_loop()
        loop.call_later(0.5, service.set_faults, [fault])
        loop.call_later(
            1.6 if fault == "hang" else 60.0, running_verifier.stop, StopReason(RunState.INTERRUPTED, "Ctrl-C")
        )
        done = await running_verifier.run()
        assert (
            done.exit_code,
            done.counts.results[CheckResult.MISMATCH],
            done.counts.results[CheckResult.UNCHECKED],
        ) == (code, 1, 0)
        assert "core-2,d,still there" in (tmp_path / "left.csv").read_text()


# --- the proof ---


@pytest.mark.virtual
async def test_the_proof_is_believed_only_while_it_is_true(tmp_path: Path) -> None:
    """A proof counts for its own run, while nothing was sent since, and when it can be read."""
    service = make_service(FLEET)
    first = await create_completed_journal(tmp_path / "run", service, PAIRS)
    document = verification_to_dict(await verify_journal(first, service))
    with JournalReader(first) as reader:
        name = reader.summary().run
        assert len(list(iter_effects(reader))) == 5
    verification_record_path(first).write_text(json.dumps(document))
    assert load_verification_record(first, name, None) == document
    assert load_verification_record(first, name, 1.0) == document
    assert format_verification_record(document).endswith(": 5 of 5 as the journal says")
    assert load_verification_record(first, "another", 1.0) is None
    assert load_verification_record(first, name, 4e9) is None
    before, after = (datetime.fromisoformat(document[key]).timestamp() for key in ("started_at", "finished_at"))
    assert load_verification_record(first, name, before) == document
    verification_record_path(first).write_text(json.dumps(document | {"finished_at": format_timestamp(after + 60)}))
    assert load_verification_record(first, name, after + 30) is None  # sent while somebody looked
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
