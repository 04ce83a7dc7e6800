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
from asyncgg.manifest.only import Selection
from asyncgg.model import Operation
from asyncgg.runs.undoing import UndoDecision, decide, prepare_undo
from asyncgg.settings import Settings
from asyncgg.simulator import InProcessTransport
from asyncgg.testing import run_virtual
from tests.journal.support import quick_folder
from tests.runs.support import LISTED, SETTINGS, Pair, a_service, associated, prepared, removed, run, undone

FLEET = {"core-1": ["a", "b", "c"], "core-2": ["a", "d"]}
PAIRS = [(core, thing) for core, things in FLEET.items() for thing in things]


def meta(path: Path) -> dict[str, str]:
    """What a journal says of its run."""
    with JournalReader(path) as reader:
        return reader.meta()


def things_of(path: Path) -> set[Pair]:
    """The associations that a journal is about."""
    with JournalReader(path) as reader:
        return {(change.core, change.thing) for change in iter_effects(reader)}


@pytest.mark.parametrize("sureness", Certainty)
@pytest.mark.parametrize("known", [True, False])
def test_fates(sureness: Certainty, known: bool) -> None:
    """Only what the service took, or proved, and what was known before is taken back."""
    taken = known and sureness in {Certainty.ACCEPTED, Certainty.CONFIRMED}
    assert (decide(sureness, prior_state_known=known) is UndoDecision.REVERT) == taken


# --- the whole way ---

FAULTS = ("500", "500-after", "reset-before", "reset-after", "hang-after", "garbage", "429", "entry")


@st.composite
def fleets(draw: st.DrawFn) -> dict[str, list[str]]:
    """Fleets of up to four cores with up to twelve things each; things are shared between cores."""
    things = [f"t{number}" for number in range(12)]
    cores = draw(st.integers(1, 4))
    return {f"c{n}": draw(st.lists(st.sampled_from(things), unique=True)) for n in range(cores)}


def doubtful(journal: Path) -> set[Pair]:
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
        service = a_service(fleet, *(f"{kind}=10%" for kind in faults), seed=seed)
        before = associated(service)
        if not before:
            return
        first = prepared(folder / "run", before | strangers, None)
        await run(first, service, attempts=attempts)
        middle = associated(service)
        if not before - middle - doubtful(first):
            return
        undo = undone(first, folder / "undo", known_before=lambda core: fleet.get(core, ()))
        assert things_of(undo) == before - middle - doubtful(first)
        await run(undo, service)
        assert associated(service) == before - doubtful(first) | middle
        again = undone(undo, folder / "again")
        await run(again, service)
        assert associated(service) == middle
        last = undone(again, folder / "last")
        await run(last, service)
        assert associated(service) == before - doubtful(first) | middle

    with quick_folder() as folder:
        run_virtual(scenario(folder))


# --- what is known ---


@pytest.mark.virtual
async def test_without_evidence_nothing_is_taken_back(tmp_path: Path) -> None:
    """A run of a mere list is not undone on its own word: the message counts the things and says what to give."""
    first = await removed(tmp_path / "run", a_service(FLEET), PAIRS, facts=None)
    with pytest.raises(UsageError) as caught:
        undone(first, tmp_path / "undo")
    said = str(caught.value)
    assert "nothing says that the 5 things it disassociated were associated before" in said
    assert "--inventory OLD.db" in said
    assert "--assume-associated" in said
    assert not (tmp_path / "undo").exists()
    assert things_of(undone(first, tmp_path / "undo", assume=True)) == set(PAIRS)


@pytest.mark.virtual
async def test_a_snapshot_speaks_for_what_it_holds(tmp_path: Path) -> None:
    """Of a list with strangers, which the service took without a word, only what the snapshot holds comes back."""
    service = a_service(FLEET, not_found="success")
    first = await removed(tmp_path / "run", service, [*PAIRS, ("core-1", "stranger")], facts=None)
    preparation, plan = prepare_undo(
        first, tmp_path / "undo", SETTINGS, None, prior_state=lambda core: FLEET.get(core, ())
    )
    assert things_of(preparation.path) == set(PAIRS)
    assert plan.excluded == {UndoDecision.PRIOR_STATE_UNKNOWN.value: 1}
    await run(preparation.path, service)
    assert associated(service) == set(PAIRS)


@pytest.mark.virtual
async def test_what_was_gone_already_is_not_ours(tmp_path: Path) -> None:
    """A thing that the service said was not there stays away, even when the run counts it as done, and even by
    --assume-associated."""
    service = a_service(FLEET)
    service.fleet.disassociate("core-1", "a")  # another operator, after the listing
    first = prepared(tmp_path / "run", PAIRS, LISTED)
    await run(first, service, gone="ResourceNotFoundException")
    with JournalReader(first) as reader:
        assert reader.summary().disassociated == 5
    preparation, plan = prepare_undo(first, tmp_path / "undo", SETTINGS, None, assume_associated=True)
    assert things_of(preparation.path) == set(PAIRS) - {("core-1", "a")}
    assert plan.excluded == {UndoDecision.UNCHANGED.value: 1}


@pytest.mark.virtual
async def test_what_was_there_already_is_left_by_the_second_undo(tmp_path: Path) -> None:
    """An undo that finds a thing associated already is complete; undoing that undo leaves this thing alone."""
    service = a_service(FLEET)
    undo = undone(await removed(tmp_path / "run", service, PAIRS), tmp_path / "undo")
    service.set_faults(["entry:AlreadyAssociated@d"])  # the simulator itself takes it without a word
    await run(undo, service)
    with JournalReader(undo) as reader:
        assert (reader.summary().disassociated, reader.already_done()) == (5, {"AlreadyAssociated": 1})
    assert things_of(undone(undo, tmp_path / "again")) == set(PAIRS) - {("core-2", "d")}


@pytest.mark.virtual
async def test_what_is_not_decided_must_be_decided_first(tmp_path: Path) -> None:
    """Things of a killed run that were sent perhaps stop an undo with the command that decides them; --only may name
    others."""
    service = a_service(FLEET)
    first = prepared(tmp_path / "run", PAIRS, LISTED)
    journal = JournalWriter(first, threaded=False)
    (work, *_) = await journal.submit(lambda store: list(store.pending_cores()))
    await journal.submit(lambda store: store.claim(claim_of(work), 1.0))
    journal._connection.close()  # as a kill would leave it
    journal._lock.release()
    with pytest.raises(UsageError, match=r"3 things may have been sent and are not decided.*asyncgg resume"):
        undone(first, tmp_path / "undo")
    with pytest.raises(UsageError, match="nothing that it is known to have disassociated"):
        undone(first, tmp_path / "undo", only=Selection("list", ["d"]))
    await run(first, service)
    assert things_of(undone(first, tmp_path / "undo")) == set(PAIRS)


def claim_of(work: CoreQueue) -> Claim:
    """All of a core in one batch."""
    return Claim(work, work.first, work.last, work.unsent)


# --- what is wanted ---


@pytest.mark.virtual
async def test_only(tmp_path: Path) -> None:
    """Pairs and bare things choose; what is in none of them is left; strangers are named and stop everything."""
    first = await removed(tmp_path / "run", a_service(FLEET), PAIRS)
    wanted = Selection("list.csv", ["a", ("core-2", "d")])
    assert things_of(undone(first, tmp_path / "undo", only=wanted)) == {
        ("core-1", "a"),
        ("core-2", "a"),
        ("core-2", "d"),
    }
    with pytest.raises(UsageError, match=r"list.csv: 2 entries are not in run .*: core-1,d, zz; take them out"):
        undone(first, tmp_path / "other", only=Selection("list.csv", ["a", "zz", ("core-1", "d")]))
    assert not (tmp_path / "other").exists()


@pytest.mark.virtual
async def test_guards_hold_for_an_undo(tmp_path: Path) -> None:
    """--max-things stops it, --protect takes names out of it, and neither leaves a journal where it stops."""
    first = await removed(tmp_path / "run", a_service(FLEET), PAIRS)
    with pytest.raises(GuardError, match="5 things, --max-things allows 4"):
        undone(first, tmp_path / "undo", settings=Settings(max_things=4))
    assert not (tmp_path / "undo").exists()
    (tmp_path / "never").write_text("core-1\n")
    undo = undone(first, tmp_path / "undo", settings=Settings(protect=tmp_path / "never"))
    assert things_of(undo) == {("core-2", "a"), ("core-2", "d")}


def test_a_run_that_is_going_is_not_undone(tmp_path: Path) -> None:
    """While a process runs the journal its undo is refused."""
    journal = JournalWriter(prepared(tmp_path / "run", PAIRS, LISTED), threaded=False)
    try:
        with pytest.raises(JournalError, match="a process is running it"):
            undone(tmp_path / "run", tmp_path / "undo")
    finally:
        journal.close()


# --- the new journal ---


@pytest.mark.virtual
async def test_the_new_journal_is_linked(tmp_path: Path) -> None:
    """It says which run it takes back, by which operation, on which evidence, and in whose account."""
    first = await removed(tmp_path / "run", a_service(FLEET), PAIRS, LISTED | {"account": "123456789012"})
    said = meta(undone(first, tmp_path / "undo"))
    assert said["operation"] == "associate"
    assert json.loads(said["undo_of"]) == {"run": meta(first)["run"], "journal": str(first)}
    assert json.loads(said["evidence"])["kind"] == "undo"
    assert said["account"] == "123456789012"
    again = meta(undone(await done(tmp_path / "undo"), tmp_path / "again"))
    assert again.get("operation", "disassociate") == "disassociate"
    assert json.loads(again["undo_of"])["run"] == said["run"]


async def done(journal: Path) -> Path:
    """The journal after a run at a service that takes everything."""
    await run(journal, a_service({core: [] for core in FLEET}))
    return journal


@pytest.mark.parametrize("damage", ["{", "[]", '{"kind": "hearsay"}', '{"kind": "listing", "taken_at": "noon"}'])
def test_evidence_that_cannot_be_read(tmp_path: Path, damage: str) -> None:
    """Evidence this program does not understand is an error, and never taken for none or for any."""
    first = prepared(tmp_path / "run", PAIRS, {"evidence": damage})
    with pytest.raises(JournalError, match="cannot be understood"):
        undone(first, tmp_path / "undo")


async def test_the_library_undoes(tmp_path: Path) -> None:
    """One call takes back a run; until the first request is sent nothing is left behind when it is refused."""
    service = a_service(FLEET)
    await asyncgg.disassociate(PAIRS, transport=InProcessTransport(service), journal=tmp_path / "run", rate=10_000)
    assert not associated(service)
    transport = InProcessTransport(service, operation=Operation.ASSOCIATE)
    with pytest.raises(UsageError, match="--assume-associated"):
        await asyncgg.undo(tmp_path / "run", into=tmp_path / "undo", transport=transport)
    assert not (tmp_path / "undo").exists()
    summary = await asyncgg.undo(
        tmp_path / "run", into=tmp_path / "undo", only=["a"], assume_associated=True, transport=transport
    )
    assert (summary.operation, summary.disassociated) == (Operation.ASSOCIATE, 2)
    assert associated(service) == {("core-1", "a"), ("core-2", "a")}
