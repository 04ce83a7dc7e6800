"""Rule: what things or cores stand for in a snapshot, and whether it may answer; snapshots are written, not swept."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st

from asyncgg.errors import AsyncggError, GuardError, ManifestError, SnapshotError, UsageError
from asyncgg.inventory import CoreState, Origin, schema
from asyncgg.inventory.store import SnapshotStore
from asyncgg.journal import JournalReader
from asyncgg.models import ClientDevice, CoreDevice, RunState
from asyncgg.runs import Plan
from asyncgg.runs.found_run import disassociate_cores, disassociate_things
from asyncgg.runs.lookup import LookupRequest, LookupTargets, origin_if_finished, prepare_from_snapshot
from asyncgg.runs.plan import MissingNames, MissingReason
from asyncgg.runs.provenance import ProvenanceKind, provenance_from_meta
from asyncgg.settings import Settings
from asyncgg.simulator import InProcessTransport
from asyncgg.transport import CoreFilter, Endpoint
from tests.support.runs import associations, make_service

ENDPOINT = Endpoint("eu-west-1", "https://greengrass.example", True, "aws", "endpoint_url")
FLEET = {"core-1": ["a", "b"], "core-2": ["b", "c"], "core-3": []}


def make_snapshot(
    path: Path,
    fleet: Mapping[str, Sequence[str]],
    *,
    states: Mapping[str, CoreState] | None = None,
    age: float = 60.0,
    origin: Origin = Origin("", ENDPOINT.region, ENDPOINT.url),  # noqa: B008 - frozen
    **meta: object,
) -> Path:
    """A finished snapshot of `fleet`, unless `states` of cores or `meta` say otherwise."""
    connection = schema.create(path)
    store = SnapshotStore(connection)
    connection.execute("BEGIN")
    now = time.time()
    metadata = {"filters": json.dumps(asdict(CoreFilter())), "cores_digest": "", "finished": 1, **asdict(origin)}
    store.put(**{**metadata, "started_at": now - age, "ended_at": now - age + 1, **meta})
    store.add_cores(1, [CoreDevice(core) for core in fleet])
    for number, (core, things) in enumerate(fleet.items(), 1):
        store.record_page(number, [ClientDevice(thing, 1.0) for thing in things], "")
        if states and core in states:
            store.abandon_listing(number, states[core], "AccessDeniedException", "no")
    store.create_index()
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return path


def prepare(
    inventory: Path,
    kind: Literal["thing", "core"],
    *names: str,
    scanned: bool = False,
    account: str = "",
    settings: Settings | None = None,
    **options: Any,
) -> tuple[Plan, set[tuple[str, str]], dict[str, str]]:
    """What is prepared: the plan, the associations, and the journal's facts."""
    journal = inventory.with_name("run.journal")
    request = LookupRequest(LookupTargets.from_names(kind, names, "the list"), inventory, **options)
    builder, plan = prepare_from_snapshot(
        request, journal, settings or Settings(), ENDPOINT, just_scanned=scanned, account=account
    )
    with JournalReader(journal) as reader:
        pairs = {(row.core, row.thing) for row in reader.outcomes()}
        meta = reader.meta()
    builder.discard()
    return plan, pairs, meta


def missing_names(plan: Plan) -> dict[MissingReason, MissingNames]:
    """What the look-up of a plan did not find."""
    assert plan.lookup is not None
    return dict(plan.lookup.missing)


def test_things_are_found_on_every_core(tmp_path: Path) -> None:
    """Each association of a thing counts; a thing on no core is told, and takes nothing else with it."""
    plan, pairs, _ = prepare(make_snapshot(tmp_path / "fleet.db", FLEET), "thing", "b", "nobody", "c", "b")
    assert pairs == {("core-1", "b"), ("core-2", "b"), ("core-2", "c")}
    assert (plan.things, plan.cores, plan.duplicates) == (3, 2, 0)
    assert missing_names(plan) == {MissingReason.NOT_FOUND: MissingNames(1, ("nobody",))}
    assert plan.source.startswith(f"the list, found in {tmp_path}/fleet.db taken 20")
    assert plan.source.endswith(" UTC")


def test_cores_give_all_they_hold(tmp_path: Path) -> None:
    """Cores that are not there, vanished or empty are told apart from those that have client devices."""
    fleet = {**FLEET, "core-4": ["d"]}
    snapshot = make_snapshot(tmp_path / "fleet.db", fleet, states={"core-4": CoreState.VANISHED})
    plan, pairs, _ = prepare(snapshot, "core", "core-1", "core-3", "core-4", "core-9")
    assert {core for core, _ in pairs} == {"core-1"}
    assert missing_names(plan) == {
        MissingReason.UNKNOWN: MissingNames(2, ("core-4", "core-9")),
        MissingReason.EMPTY: MissingNames(1, ("core-3",)),
    }


@pytest.mark.parametrize(("swept", "kind"), [(True, ProvenanceKind.LISTING), (False, ProvenanceKind.INVENTORY)])
def test_the_journal_knows_its_evidence(tmp_path: Path, swept: bool, kind: ProvenanceKind) -> None:
    """Where the associations were read, absolutely, and when, so that the run can be taken back."""
    snapshot = make_snapshot(tmp_path / "fleet.db", FLEET)
    _, _, meta = prepare(snapshot, "thing", "a", scanned=swept)
    evidence = provenance_from_meta(meta, snapshot)
    assert evidence is not None
    assert (evidence.kind, evidence.path) == (kind, str(snapshot))
    assert evidence.taken_at == pytest.approx(time.time() - 60, abs=30)


def assert_refused(error: type[AsyncggError], message: str, snapshot: Path, *names: Any, **options: Any) -> None:
    """It is refused with these words, and leaves no journal."""
    with pytest.raises(error, match=message):
        prepare(snapshot, *names, **options)
    assert [path.name for path in snapshot.parent.iterdir()] == [snapshot.name]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"finished": ""}, "unfinished scan"),
        ({"age": 90_000.0}, "begun .* 25 h 00 min ago, --max-age allows 24 h 00 min; sweep anew: asyncgg inventory"),
        ({"origin": Origin("", "us-east-1", ENDPOINT.url)}, "of region us-east-1, this run goes to eu-west-1"),
        ({"origin": Origin("", ENDPOINT.region, "https://other")}, "of endpoint https://other"),
        ({"origin": Origin("1" * 12, ENDPOINT.region, "")}, f"of account {'1' * 12}, this run goes to {'2' * 12}"),
        ({"cores_digest": "digest"}, "only named cores, and the things may be on others"),
        ({"filters": json.dumps({"status": "HEALTHY"})}, "only cores that match its filters"),
    ],
)
def test_a_snapshot_that_may_not_answer(tmp_path: Path, made: dict[str, Any], words: str) -> None:
    """Unfinished, old, of another fleet, or blind to some cores: refused in a line that says what to do."""
    assert_refused(
        SnapshotError, words, make_snapshot(tmp_path / "fleet.db", FLEET, **made), "thing", "a", account="2" * 12
    )


def test_a_snapshot_of_named_cores_answers_for_these(tmp_path: Path) -> None:
    """It knows its own cores, the vanished ones too, and nothing of another."""
    states = {"core-2": CoreState.VANISHED}
    snapshot = make_snapshot(
        tmp_path / "fleet.db", {"core-1": ["a"], "core-2": []}, states=states, cores_digest="digest"
    )
    plan, pairs, _ = prepare(snapshot, "core", "core-1", "core-2")
    assert pairs == {("core-1", "a")}
    assert missing_names(plan) == {MissingReason.UNKNOWN: MissingNames(1, ("core-2",))}
    assert_refused(SnapshotError, "only named cores, not core-7", snapshot, "core", "core-1", "core-7")


def test_an_old_snapshot_is_young_enough_when_told_so(tmp_path: Path) -> None:
    """--max-age decides, and a sweep made for this run is never too old for it."""
    snapshot = make_snapshot(tmp_path / "fleet.db", FLEET, age=90_000.0)
    assert prepare(snapshot, "thing", "a", max_age=100_000.0)[1] == {("core-1", "a")}
    assert prepare(snapshot, "thing", "a", scanned=True)[1] == {("core-1", "a")}


@pytest.mark.parametrize("state", [CoreState.DENIED, CoreState.FAILED])
def test_an_incomplete_view_is_not_a_small_fleet(tmp_path: Path, state: CoreState) -> None:
    """A core that could not be listed stops it, unless that is allowed or its core is not asked about."""
    snapshot = make_snapshot(tmp_path / "fleet.db", FLEET, states={"core-2": state})
    message = r"^1 core could not be listed \(AccessDeniedException\).*: core-2; sweep anew: .*--allow-unlisted$"
    assert_refused(GuardError, message, snapshot, "thing", "a")
    assert_refused(GuardError, "core-2; run it again, or", snapshot, "core", "core-1", "core-2", scanned=True)
    assert prepare(snapshot, "core", "core-1")[1] == {("core-1", "a"), ("core-1", "b")}
    plan, pairs, _ = prepare(snapshot, "thing", "b", allow_incomplete=True)
    assert pairs == {("core-1", "b"), ("core-2", "b")}  # what was seen of it before it failed was asked for
    assert missing_names(plan) == {MissingReason.INCOMPLETE: MissingNames(1, ("core-2",))}


def test_nothing_found_is_no_run(tmp_path: Path) -> None:
    """It says of what there was nothing, ten names at most."""
    snapshot = make_snapshot(tmp_path / "fleet.db", FLEET)
    names = [f"thing-{number:02}" for number in range(12)]
    assert_refused(
        UsageError, "nothing to do: 12 on no core: thing-00, .*thing-09 and 2 more$", snapshot, "thing", *names
    )
    assert_refused(
        UsageError, "1 not there: core-9; 1 without client devices: core-3$", snapshot, "core", "core-3", "core-9"
    )


def test_the_guards_of_a_manifest_hold(tmp_path: Path) -> None:
    """`protect` takes out and is counted, `max_things` refuses."""
    snapshot = make_snapshot(tmp_path / "fleet.db", FLEET)
    assert_refused(
        GuardError, "3 things, --max-things allows 2", snapshot, "thing", *"abc"[:2], settings=Settings(max_things=2)
    )
    (tmp_path / "never").mkdir()
    protect = tmp_path / "never" / "list.txt"
    protect.write_text("core:core-2\n")
    plan, pairs, _ = prepare(snapshot, "thing", "b", settings=Settings(protect=protect))
    assert (pairs, plan.protected) == ({("core-1", "b")}, 1)
    with pytest.raises(ManifestError, match="1 are protected"):
        prepare(snapshot, "thing", "c", settings=Settings(protect=protect))


@pytest.mark.parametrize(("names", "words"), [(["a", "no name"], "`no name` is no thing's name"), ([], "no names")])
def test_what_is_no_list(names: list[str], words: str) -> None:
    """A name that cannot be one, and no name at all, are told before anything is looked up."""
    with pytest.raises(UsageError, match=words):
        LookupTargets.from_names("thing", names, "the list")


def test_a_sweep_is_needed_until_it_is_finished(tmp_path: Path) -> None:
    """A missing, an empty and an unfinished file need one; what is no snapshot is told, not overwritten."""
    empty, other = tmp_path / "empty.db", tmp_path / "other.txt"
    empty.touch()
    other.write_text("x" * 200)
    unfinished = make_snapshot(tmp_path / "half.db", FLEET, finished="")
    assert [origin_if_finished(path) for path in (tmp_path / "none.db", empty, unfinished)] == [None] * 3
    assert origin_if_finished(make_snapshot(tmp_path / "fleet.db", FLEET)) == Origin("", ENDPOINT.region, ENDPOINT.url)
    with pytest.raises(SnapshotError):
        origin_if_finished(other)


NAMES = st.sampled_from([f"t{number}" for number in range(8)])


@how(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fleet=st.dictionaries(st.sampled_from([f"c{number}" for number in range(5)]), st.sets(NAMES, max_size=5)),
    names=st.lists(NAMES, min_size=1),
)
def test_exactly_what_is_asked_for(
    tmp_path_factory: pytest.TempPathFactory, fleet: dict[str, set[str]], names: list[str]
) -> None:
    """Whatever the fleet: the associations of these things and no other; each name is found or told to be nowhere."""
    snapshot = make_snapshot(tmp_path_factory.mktemp("fleet") / "fleet.db", {c: sorted(t) for c, t in fleet.items()})
    expected = {(core, thing) for core, things in fleet.items() for thing in things if thing in names}
    if not expected:
        assert_refused(UsageError, "nothing to do", snapshot, "thing", *names)
        return
    plan, pairs, _ = prepare(snapshot, "thing", *names)
    assert pairs == expected
    nowhere = missing_names(plan).get(MissingReason.NOT_FOUND, MissingNames(0, ()))
    assert set(nowhere.examples) == set(names) - {thing for _, thing in expected}
    assert nowhere.count == len(nowhere.examples)


@pytest.mark.virtual
async def test_the_library_does_it_too(tmp_path: Path) -> None:
    """Things and cores go by one call each; what somebody else removed since the snapshot counts as gone."""
    snapshot = make_snapshot(tmp_path / "fleet.db", FLEET)
    service = make_service(FLEET)
    service.fleet.disassociate("core-1", "b")
    options: dict[str, Any] = {
        "inventory": snapshot,
        "transport": InProcessTransport(service, timeout=1.0),
        "rate": 100.0,
    }
    summary = await disassociate_things(["b"], journal=tmp_path / "1.journal", **options)
    assert (summary.state, summary.disassociated, summary.already) == (RunState.COMPLETE, 2, 1)
    assert associations(service) == {("core-1", "a"), ("core-2", "c")}
    summary = await disassociate_cores(["core-2"], journal=tmp_path / "2.journal", **options)
    assert (summary.disassociated, summary.already, summary.failed) == (2, 1, 0)
    assert associations(service) == {("core-1", "a")}
