"""Tests of the undo of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import asyncgg
from asyncgg.batching import Claim, CoreQueue
from asyncgg.errors import GuardError, JournalError, UsageError
from asyncgg.journal import Certainty, JournalReader, JournalWriter, iter_effects
from asyncgg.manifest.name_lists import Selection
from asyncgg.models import Operation
from asyncgg.runs.undo_plan import UndoDecision, decide, prepare_undo
from asyncgg.settings import Settings
from asyncgg.testing import run_virtual
from tests.support.in_process import InProcessTransport
from tests.support.journal import temporary_folder
from tests.support.runs import (
    LISTING_PROVENANCE,
    SETTINGS,
    Pair,
    associations,
    create_completed_journal,
    create_journal,
    create_undo_journal,
    make_service,
    run_journal,
)

FLEET = {"core-1": ["a", "b", "c"], "core-2": ["a", "d"]}
PAIRS = [(core, thing) for core, things in FLEET.items() for thing in things]


def read_meta(path: Path) -> dict[str, str]:
    """The meta table of a journal."""
    with JournalReader(path) as reader:
        return reader.meta()


def read_pairs(path: Path) -> set[Pair]:
    """The associations of a journal."""
    with JournalReader(path) as reader:
        return {(effect.core, effect.thing) for effect in iter_effects(reader)}


@pytest.mark.parametrize("certainty", Certainty)
@pytest.mark.parametrize("known", [True, False])
def test_decide_reverts_only_confirmed_changes_with_known_prior_state(certainty: Certainty, known: bool) -> None:
    """A thing is reverted if the service accepted it and its state before the run is known."""
    is_selected = known and certainty in {Certainty.ACCEPTED, Certainty.CONFIRMED}
    assert (decide(certainty, prior_state_known=known) is UndoDecision.REVERT) == is_selected


# --- complete runs ---

FAULTS = ("500", "500-after", "reset-before", "reset-after", "hang-after", "garbage", "429", "entry")


@st.composite
def fleets(draw: st.DrawFn) -> dict[str, list[str]]:
    """Fleets of up to four cores with up to twelve things each, shared between cores."""
    things = [f"t{number}" for number in range(12)]
    cores = draw(st.integers(1, 4))
    return {f"c{n}": draw(st.lists(st.sampled_from(things), unique=True)) for n in range(cores)}


def ambiguous_failures(journal: Path) -> set[Pair]:
    """The things that failed after a lost reply."""
    with JournalReader(journal) as reader:
        return {(c.core, c.thing) for c in iter_effects(reader) if c.certainty is Certainty.UNCERTAIN}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    fleet=fleets(),
    faults=st.lists(st.sampled_from(FAULTS), max_size=4, unique=True),
    unknown=st.sets(st.tuples(st.sampled_from(["c0", "c1"]), st.sampled_from(["x1", "x2"])), max_size=2),
    attempts=st.sampled_from([2, 1_000]),
    seed=st.integers(0, 1000),
)
def test_undo_restores_the_fleet(
    fleet: dict[str, list[str]], faults: list[str], unknown: set[Pair], attempts: int, seed: int
) -> None:
    """With any faults, an undo restores exactly what the run removed; its undo removes it."""

    async def scenario(folder: Path) -> None:
        service = make_service(fleet, *(f"{kind}=10%" for kind in faults), seed=seed)
        before = associations(service)
        if not before:
            return
        first = create_journal(folder / "run", before | unknown, None)
        await run_journal(first, service, attempts=attempts)
        middle = associations(service)
        if not before - middle - ambiguous_failures(first):
            return
        undo = create_undo_journal(first, folder / "undo", prior_state=lambda core: fleet.get(core, ()))
        assert read_pairs(undo) == before - middle - ambiguous_failures(first)
        await run_journal(undo, service)
        assert associations(service) == before - ambiguous_failures(first) | middle
        second = create_undo_journal(undo, folder / "again")
        await run_journal(second, service)
        assert associations(service) == middle
        last = create_undo_journal(second, folder / "last")
        await run_journal(last, service)
        assert associations(service) == before - ambiguous_failures(first) | middle

    with temporary_folder() as folder:
        run_virtual(scenario(folder))


# --- prior state ---


@pytest.mark.virtual
async def test_prepare_undo_without_provenance_raises(tmp_path: Path) -> None:
    """The run of a manifest proves no prior state: the error says which options to use."""
    first = await create_completed_journal(tmp_path / "run", make_service(FLEET), PAIRS, metadata=None)
    with pytest.raises(UsageError) as caught:
        create_undo_journal(first, tmp_path / "undo")
    message = str(caught.value)
    assert "cannot prove that the 5 things were associated before the run" in message
    assert "--inventory OLD.db" in message
    assert "--assume-associated" in message
    assert not (tmp_path / "undo").exists()
    assert read_pairs(create_undo_journal(first, tmp_path / "undo", assume_associated=True)) == set(PAIRS)


@pytest.mark.virtual
async def test_prepare_undo_with_a_snapshot_reverts_what_the_snapshot_has(tmp_path: Path) -> None:
    """A thing that the service accepted but that is not in the snapshot is not reverted."""
    service = make_service(FLEET, not_found="success")
    first = await create_completed_journal(tmp_path / "run", service, [*PAIRS, ("core-1", "unknown")], metadata=None)
    builder, plan = prepare_undo(first, tmp_path / "undo", SETTINGS, None, prior_state=lambda core: FLEET.get(core, ()))
    assert read_pairs(builder.path) == set(PAIRS)
    assert plan.excluded == {UndoDecision.PRIOR_STATE_UNKNOWN.value: 1}
    await run_journal(builder.path, service)
    assert associations(service) == set(PAIRS)


@pytest.mark.virtual
async def test_prepare_undo_excludes_things_that_were_already_missing(tmp_path: Path) -> None:
    """A thing reported as missing is not reverted, even with `assume_associated`."""
    service = make_service(FLEET)
    service.fleet.disassociate("core-1", "a")  # another operator, after the listing
    first = create_journal(tmp_path / "run", PAIRS, LISTING_PROVENANCE)
    await run_journal(first, service, missing_code="ResourceNotFoundException")
    with JournalReader(first) as reader:
        assert (reader.summary().disassociated, reader.summary().already) == (4, 1)
    builder, plan = prepare_undo(first, tmp_path / "undo", SETTINGS, None, assume_associated=True)
    assert read_pairs(builder.path) == set(PAIRS) - {("core-1", "a")}
    assert plan.excluded == {UndoDecision.UNCHANGED.value: 1}


@pytest.mark.virtual
async def test_undo_of_an_undo_excludes_things_that_were_already_associated(tmp_path: Path) -> None:
    """The undo of an undo does not change a thing that was already associated."""
    service = make_service(FLEET)
    undo = create_undo_journal(await create_completed_journal(tmp_path / "run", service, PAIRS), tmp_path / "undo")
    service.set_faults(["entry:AlreadyAssociated@d"])  # the simulator itself accepts the thing
    await run_journal(undo, service)
    with JournalReader(undo) as reader:
        assert (reader.summary().disassociated, reader.summary().already) == (4, 1)
    assert read_pairs(create_undo_journal(undo, tmp_path / "again")) == set(PAIRS) - {("core-2", "d")}


@pytest.mark.virtual
async def test_prepare_undo_with_possibly_sent_things_raises(tmp_path: Path) -> None:
    """After a kill, the run must be resumed before the undo, or other things selected."""
    service = make_service(FLEET)
    first = create_journal(tmp_path / "run", PAIRS, LISTING_PROVENANCE)
    journal = JournalWriter(first, threaded=False)
    (work, *_) = await journal.submit(lambda store: list(store.pending_cores()))
    await journal.submit(lambda store: store.claim(claim_all(work), 1.0))
    journal._connection.close()  # as after a kill
    journal._lock.release()
    with pytest.raises(UsageError, match=r"3 things possibly sent.*asyncgg resume"):
        create_undo_journal(first, tmp_path / "undo")
    with pytest.raises(UsageError, match="nothing to undo"):
        create_undo_journal(first, tmp_path / "undo", only=Selection("list", ["d"]))
    await run_journal(first, service)
    assert read_pairs(create_undo_journal(first, tmp_path / "undo")) == set(PAIRS)


def claim_all(work: CoreQueue) -> Claim:
    """All things of a core in one batch."""
    return Claim(work, work.first, work.last, work.unsent)


# --- selection and guards ---


@pytest.mark.virtual
async def test_prepare_undo_only_selects_pairs_and_things(tmp_path: Path) -> None:
    """Pairs and things are selected; an entry that is not in the run is an error."""
    first = await create_completed_journal(tmp_path / "run", make_service(FLEET), PAIRS)
    selection = Selection("list.csv", ["a", ("core-2", "d")])
    assert read_pairs(create_undo_journal(first, tmp_path / "undo", only=selection)) == {
        ("core-1", "a"),
        ("core-2", "a"),
        ("core-2", "d"),
    }
    with pytest.raises(UsageError, match=r"list.csv: 2 entries are not in run .*: core-1,d, zz; remove"):
        create_undo_journal(first, tmp_path / "other", only=Selection("list.csv", ["a", "zz", ("core-1", "d")]))
    assert not (tmp_path / "other").exists()


@pytest.mark.virtual
async def test_prepare_undo_applies_guards(tmp_path: Path) -> None:
    """`max_things` is a limit and `protect` excludes; no journal remains after an error."""
    first = await create_completed_journal(tmp_path / "run", make_service(FLEET), PAIRS)
    with pytest.raises(GuardError, match="5 things, --max-things allows 4"):
        create_undo_journal(first, tmp_path / "undo", settings=Settings(max_things=4))
    assert not (tmp_path / "undo").exists()
    (tmp_path / "never").write_text("core-1\n")
    undo = create_undo_journal(first, tmp_path / "undo", settings=Settings(protect=tmp_path / "never"))
    assert read_pairs(undo) == {("core-2", "a"), ("core-2", "d")}


def test_prepare_undo_of_a_journal_in_use_raises(tmp_path: Path) -> None:
    """A journal that a process uses cannot be undone."""
    journal = JournalWriter(create_journal(tmp_path / "run", PAIRS, LISTING_PROVENANCE), threaded=False)
    try:
        with pytest.raises(JournalError, match="in use by another process"):
            create_undo_journal(tmp_path / "run", tmp_path / "undo")
    finally:
        journal.close()


# --- the new journal ---


@pytest.mark.virtual
async def test_prepare_undo_links_the_new_journal(tmp_path: Path) -> None:
    """The new journal has the original run, the operation, the provenance and the account."""
    first = await create_completed_journal(
        tmp_path / "run", make_service(FLEET), PAIRS, LISTING_PROVENANCE | {"account": "123456789012"}
    )
    metadata = read_meta(create_undo_journal(first, tmp_path / "undo"))
    assert metadata["operation"] == "associate"
    assert json.loads(metadata["undo_of"]) == {"run": read_meta(first)["run"], "journal": str(first)}
    assert json.loads(metadata["provenance"])["kind"] == "undo"
    assert metadata["account"] == "123456789012"
    second = read_meta(create_undo_journal(await run_to_completion(tmp_path / "undo"), tmp_path / "again"))
    assert second.get("operation", "disassociate") == "disassociate"
    assert json.loads(second["undo_of"])["run"] == metadata["run"]


async def run_to_completion(journal: Path) -> Path:
    """Run a journal with a service that accepts everything."""
    await run_journal(journal, make_service({core: [] for core in FLEET}))
    return journal


@pytest.mark.parametrize("damage", ["{", "[]", '{"kind": "hearsay"}', '{"kind": "listing", "taken_at": "noon"}'])
def test_prepare_undo_with_invalid_provenance_raises(tmp_path: Path, damage: str) -> None:
    """A provenance that cannot be read is an error, not a missing one."""
    first = create_journal(tmp_path / "run", PAIRS, {"provenance": damage})
    with pytest.raises(JournalError, match="provenance of the associations cannot be read"):
        create_undo_journal(first, tmp_path / "undo")


async def test_undo_runs_to_completion(tmp_path: Path) -> None:
    """One call undoes a run; after an error before the first request no journal remains."""
    service = make_service(FLEET)
    await asyncgg.disassociate(PAIRS, transport=InProcessTransport(service), journal=tmp_path / "run", rate=10_000)
    assert not associations(service)
    transport = InProcessTransport(service, operation=Operation.ASSOCIATE)
    with pytest.raises(UsageError, match="--assume-associated"):
        await asyncgg.undo(tmp_path / "run", into=tmp_path / "undo", transport=transport)
    assert not (tmp_path / "undo").exists()
    summary = await asyncgg.undo(
        tmp_path / "run", into=tmp_path / "undo", only=["a"], assume_associated=True, transport=transport
    )
    assert (summary.operation, summary.disassociated) == (Operation.ASSOCIATE, 2)
    assert associations(service) == {("core-1", "a"), ("core-2", "a")}
