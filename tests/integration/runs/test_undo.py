"""Rule: what an undo takes back, and what it leaves alone."""

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
from asyncgg.simulator import InProcessTransport
from asyncgg.testing import run_virtual
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
    """What a journal says of its run."""
    with JournalReader(path) as reader:
        return reader.meta()


def read_pairs(path: Path) -> set[Pair]:
    """The associations that a journal is about."""
    with JournalReader(path) as reader:
        return {(change.core, change.thing) for change in iter_effects(reader)}


@pytest.mark.parametrize("sureness", Certainty)
@pytest.mark.parametrize("known", [True, False])
def test_fates(sureness: Certainty, known: bool) -> None:
    """Only what the service took, or proved, and what was known before is taken back."""
    is_selected = known and sureness in {Certainty.ACCEPTED, Certainty.CONFIRMED}
    assert (decide(sureness, prior_state_known=known) is UndoDecision.REVERT) == is_selected


# --- the whole way ---

FAULTS = ("500", "500-after", "reset-before", "reset-after", "hang-after", "garbage", "429", "entry")


@st.composite
def fleets(draw: st.DrawFn) -> dict[str, list[str]]:
    """Fleets of up to four cores with up to twelve things each; things are shared between cores."""
    things = [f"t{number}" for number in range(12)]
    cores = draw(st.integers(1, 4))
    return {f"c{n}": draw(st.lists(st.sampled_from(things), unique=True)) for n in range(cores)}


def ambiguous_failures(journal: Path) -> set[Pair]:
    """What failed after a lost reply."""
    with JournalReader(journal) as reader:
        return {(c.core, c.thing) for c in iter_effects(reader) if c.certainty is Certainty.UNCERTAIN}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    fleet=fleets(),
    faults=st.lists(st.sampled_from(FAULTS), max_size=4, unique=True),
    strangers=st.sets(st.tuples(st.sampled_from(["c0", "c1"]), st.sampled_from(["x1", "x2"])), max_size=2),
    attempts=st.sampled_from([2, 1_000]),
    seed=st.integers(0, 1000),
)
def test_the_fleet_is_as_before(
    fleet: dict[str, list[str]], faults: list[str], strangers: set[Pair], attempts: int, seed: int
) -> None:
    """Whatever was lost, repeated or refused on the way: what a run removed its undo puts back, and nothing else; and
    an undo of that undo removes it again."""

    async def scenario(folder: Path) -> None:
        service = make_service(fleet, *(f"{kind}=10%" for kind in faults), seed=seed)
        before = associations(service)
        if not before:
            return
        first = create_journal(folder / "run", before | strangers, None)
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


# --- what is known ---


@pytest.mark.virtual
async def test_without_evidence_nothing_is_taken_back(tmp_path: Path) -> None:
    """A run of a mere list is not undone on its own word: the message counts the things and says what to give."""
    first = await create_completed_journal(tmp_path / "run", make_service(FLEET), PAIRS, metadata=None)
    with pytest.raises(UsageError) as caught:
        create_undo_journal(first, tmp_path / "undo")
    message = str(caught.value)
    assert "nothing says that the 5 things it disassociated were associated before" in message
    assert "--inventory OLD.db" in message
    assert "--assume-associated" in message
    assert not (tmp_path / "undo").exists()
    assert read_pairs(create_undo_journal(first, tmp_path / "undo", assume_associated=True)) == set(PAIRS)


@pytest.mark.virtual
async def test_a_snapshot_speaks_for_what_it_holds(tmp_path: Path) -> None:
    """Of a list with strangers, which the service took without a word, only what the snapshot holds comes back."""
    service = make_service(FLEET, not_found="success")
    first = await create_completed_journal(tmp_path / "run", service, [*PAIRS, ("core-1", "stranger")], metadata=None)
    preparation, plan = prepare_undo(
        first, tmp_path / "undo", SETTINGS, None, prior_state=lambda core: FLEET.get(core, ())
    )
    assert read_pairs(preparation.path) == set(PAIRS)
    assert plan.excluded == {UndoDecision.PRIOR_STATE_UNKNOWN.value: 1}
    await run_journal(preparation.path, service)
    assert associations(service) == set(PAIRS)


@pytest.mark.virtual
async def test_what_was_gone_already_is_not_ours(tmp_path: Path) -> None:
    """A thing that the service said was not there stays away, even when the run counts it as done, and even by
    --assume-associated."""
    service = make_service(FLEET)
    service.fleet.disassociate("core-1", "a")  # another operator, after the listing
    first = create_journal(tmp_path / "run", PAIRS, LISTING_PROVENANCE)
    await run_journal(first, service, missing_code="ResourceNotFoundException")
    with JournalReader(first) as reader:
        assert reader.summary().disassociated == 5
    preparation, plan = prepare_undo(first, tmp_path / "undo", SETTINGS, None, assume_associated=True)
    assert read_pairs(preparation.path) == set(PAIRS) - {("core-1", "a")}
    assert plan.excluded == {UndoDecision.UNCHANGED.value: 1}


@pytest.mark.virtual
async def test_what_was_there_already_is_left_by_the_second_undo(tmp_path: Path) -> None:
    """An undo that finds a thing associated already is complete; undoing that undo leaves this thing alone."""
    service = make_service(FLEET)
    undo = create_undo_journal(await create_completed_journal(tmp_path / "run", service, PAIRS), tmp_path / "undo")
    service.set_faults(["entry:AlreadyAssociated@d"])  # the simulator itself takes it without a word
    await run_journal(undo, service)
    with JournalReader(undo) as reader:
        assert (reader.summary().disassociated, reader.already_done()) == (5, {"AlreadyAssociated": 1})
    assert read_pairs(create_undo_journal(undo, tmp_path / "again")) == set(PAIRS) - {("core-2", "d")}


@pytest.mark.virtual
async def test_what_is_not_decided_must_be_decided_first(tmp_path: Path) -> None:
    """Things of a killed run that were sent perhaps stop an undo with the command that decides them; --only may name
    others."""
    service = make_service(FLEET)
    first = create_journal(tmp_path / "run", PAIRS, LISTING_PROVENANCE)
    journal = JournalWriter(first, threaded=False)
    (work, *_) = await journal.submit(lambda store: list(store.pending_cores()))
    await journal.submit(lambda store: store.claim(claim_all(work), 1.0))
    journal._connection.close()  # as a kill would leave it
    journal._lock.release()
    with pytest.raises(UsageError, match=r"3 things may have been sent and are not decided.*asyncgg resume"):
        create_undo_journal(first, tmp_path / "undo")
    with pytest.raises(UsageError, match="nothing that it is known to have disassociated"):
        create_undo_journal(first, tmp_path / "undo", only=Selection("list", ["d"]))
    await run_journal(first, service)
    assert read_pairs(create_undo_journal(first, tmp_path / "undo")) == set(PAIRS)


def claim_all(work: CoreQueue) -> Claim:
    """All of a core in one batch."""
    return Claim(work, work.first, work.last, work.unsent)


# --- what is wanted ---


@pytest.mark.virtual
async def test_only(tmp_path: Path) -> None:
    """Pairs and bare things choose; what is in none of them is left; strangers are named and stop everything."""
    first = await create_completed_journal(tmp_path / "run", make_service(FLEET), PAIRS)
    selection = Selection("list.csv", ["a", ("core-2", "d")])
    assert read_pairs(create_undo_journal(first, tmp_path / "undo", only=selection)) == {
        ("core-1", "a"),
        ("core-2", "a"),
        ("core-2", "d"),
    }
    with pytest.raises(UsageError, match=r"list.csv: 2 entries are not in run .*: core-1,d, zz; take them out"):
        create_undo_journal(first, tmp_path / "other", only=Selection("list.csv", ["a", "zz", ("core-1", "d")]))
    assert not (tmp_path / "other").exists()


@pytest.mark.virtual
async def test_guards_hold_for_an_undo(tmp_path: Path) -> None:
    """--max-things stops it, --protect takes names out of it, and neither leaves a journal where it stops."""
    first = await create_completed_journal(tmp_path / "run", make_service(FLEET), PAIRS)
    with pytest.raises(GuardError, match="5 things, --max-things allows 4"):
        create_undo_journal(first, tmp_path / "undo", settings=Settings(max_things=4))
    assert not (tmp_path / "undo").exists()
    (tmp_path / "never").write_text("core-1\n")
    undo = create_undo_journal(first, tmp_path / "undo", settings=Settings(protect=tmp_path / "never"))
    assert read_pairs(undo) == {("core-2", "a"), ("core-2", "d")}


def test_a_run_that_is_going_is_not_undone(tmp_path: Path) -> None:
    """While a process runs the journal its undo is refused."""
    journal = JournalWriter(create_journal(tmp_path / "run", PAIRS, LISTING_PROVENANCE), threaded=False)
    try:
        with pytest.raises(JournalError, match="a process is running it"):
            create_undo_journal(tmp_path / "run", tmp_path / "undo")
    finally:
        journal.close()


# --- the new journal ---


@pytest.mark.virtual
async def test_the_new_journal_is_linked(tmp_path: Path) -> None:
    """It says which run it takes back, by which operation, on which evidence, and in whose account."""
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
    """The journal after a run at a service that takes everything."""
    await run_journal(journal, make_service({core: [] for core in FLEET}))
    return journal


@pytest.mark.parametrize("damage", ["{", "[]", '{"kind": "hearsay"}', '{"kind": "listing", "taken_at": "noon"}'])
def test_evidence_that_cannot_be_read(tmp_path: Path, damage: str) -> None:
    """Evidence this program does not understand is an error, and never taken for none or for any."""
    first = create_journal(tmp_path / "run", PAIRS, {"provenance": damage})
    with pytest.raises(JournalError, match="cannot be understood"):
        create_undo_journal(first, tmp_path / "undo")


async def test_the_library_undoes(tmp_path: Path) -> None:
    """One call takes back a run; until the first request is sent nothing is left behind when it is refused."""
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
