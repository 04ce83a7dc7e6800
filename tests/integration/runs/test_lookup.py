"""Tests of the lookup of things and cores in a snapshot."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from asyncgg.errors import AsyncggError, GuardError, SnapshotError, UsageError
from asyncgg.inventory import CoreState, Origin, schema
from asyncgg.inventory.store import SnapshotStore
from asyncgg.journal import JournalReader
from asyncgg.models import ClientDevice, CoreDevice, RunState
from asyncgg.runs import Plan, disassociate_cores, disassociate_things
from asyncgg.runs.lookup import LookupRequest, LookupTargets, origin_if_finished, prepare_from_snapshot
from asyncgg.runs.plan import MissingNames, MissingReason
from asyncgg.runs.provenance import ProvenanceKind, provenance_from_meta
from asyncgg.settings import Settings
from asyncgg.transport import CoreFilter, Endpoint
from tests.support.in_process import InProcessTransport
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
    """Write a finished snapshot of `fleet`; `states` of cores and `meta` override the defaults."""
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
    """Prepare a run; return the plan, the associations and the meta table of the journal."""
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
    """The missing names of a plan."""
    assert plan.lookup is not None
    return dict(plan.lookup.missing)


def test_prepare_from_snapshot_finds_things_on_every_core(tmp_path: Path) -> None:
    """Each association of a thing is found; a thing on no core does not stop the run."""
    plan, pairs, _ = prepare(make_snapshot(tmp_path / "fleet.db", FLEET), "thing", "b", "unknown", "c", "b")
    assert pairs == {("core-1", "b"), ("core-2", "b"), ("core-2", "c")}
    assert (plan.things, plan.cores, plan.duplicates) == (3, 2, 0)
    assert missing_names(plan) == {MissingReason.NOT_FOUND: MissingNames(1, ("unknown",))}
    assert plan.source.startswith(f"the list, found in {tmp_path}/fleet.db taken 20")
    assert plan.source.endswith(" UTC")


def test_prepare_from_snapshot_finds_all_things_of_cores(tmp_path: Path) -> None:
    """Unknown, deleted and empty cores are reported by reason."""
    fleet = {**FLEET, "core-4": ["d"]}
    snapshot = make_snapshot(tmp_path / "fleet.db", fleet, states={"core-4": CoreState.VANISHED})
    plan, pairs, _ = prepare(snapshot, "core", "core-1", "core-3", "core-4", "core-9")
    assert {core for core, _ in pairs} == {"core-1"}
    assert missing_names(plan) == {
        MissingReason.UNKNOWN: MissingNames(2, ("core-4", "core-9")),
        MissingReason.EMPTY: MissingNames(1, ("core-3",)),
    }


@pytest.mark.parametrize(("scanned", "kind"), [(True, ProvenanceKind.LISTING), (False, ProvenanceKind.INVENTORY)])
def test_prepare_from_snapshot_saves_provenance(tmp_path: Path, scanned: bool, kind: ProvenanceKind) -> None:
    """The journal has the absolute path and time of the snapshot, so that the run can be undone."""
    snapshot = make_snapshot(tmp_path / "fleet.db", FLEET)
    _, _, meta = prepare(snapshot, "thing", "a", scanned=scanned)
    provenance = provenance_from_meta(meta, snapshot)
    assert provenance is not None
    assert (provenance.kind, provenance.path) == (kind, str(snapshot))
    assert provenance.taken_at == pytest.approx(time.time() - 60, abs=30)


def assert_raises(error: type[AsyncggError], message: str, snapshot: Path, *names: Any, **options: Any) -> None:
    """Assert the error and that no journal remains."""
    with pytest.raises(error, match=message):
        prepare(snapshot, *names, **options)
    assert [path.name for path in snapshot.parent.iterdir()] == [snapshot.name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"finished": ""}, "unfinished scan"),
        ({"age": 90_000.0}, "25 h 00 min ago; --max-age allows 24 h 00 min; scan again: asyncgg inventory"),
        ({"origin": Origin("", "us-east-1", ENDPOINT.url)}, "of region us-east-1, but this run uses eu-west-1"),
        ({"origin": Origin("", ENDPOINT.region, "https://other")}, "of endpoint https://other"),
        ({"origin": Origin("1" * 12, ENDPOINT.region, "")}, f"of account {'1' * 12}, but this run uses {'2' * 12}"),
        ({"cores_digest": "digest"}, "the things may also be on other cores"),
        ({"filters": json.dumps({"status": "HEALTHY"})}, "the things may also be on other cores"),
    ],
)
def test_prepare_from_snapshot_unusable_snapshot_raises(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    """An unfinished, old, foreign or partial snapshot is an error that says what to do."""
    assert_raises(
        SnapshotError, message, make_snapshot(tmp_path / "fleet.db", FLEET, **options), "thing", "a", account="2" * 12
    )


def test_prepare_from_snapshot_of_named_cores_covers_only_these(tmp_path: Path) -> None:
    """The snapshot covers its own cores, also deleted ones, and no others."""
    states = {"core-2": CoreState.VANISHED}
    fleet: dict[str, list[str]] = {"core-1": ["a"], "core-2": []}
    snapshot = make_snapshot(tmp_path / "fleet.db", fleet, states=states, cores_digest="digest")
    plan, pairs, _ = prepare(snapshot, "core", "core-1", "core-2")
    assert pairs == {("core-1", "a")}
    assert missing_names(plan) == {MissingReason.UNKNOWN: MissingNames(1, ("core-2",))}
    assert_raises(SnapshotError, "only named cores, not core-7", snapshot, "core", "core-1", "core-7")


def test_prepare_from_snapshot_max_age_allows_an_old_snapshot(tmp_path: Path) -> None:
    """`max_age` decides; a scan for this run is never too old."""
    snapshot = make_snapshot(tmp_path / "fleet.db", FLEET, age=90_000.0)
    assert prepare(snapshot, "thing", "a", max_age=100_000.0)[1] == {("core-1", "a")}
    assert prepare(snapshot, "thing", "a", scanned=True)[1] == {("core-1", "a")}


@pytest.mark.parametrize("state", [CoreState.DENIED, CoreState.FAILED])
def test_prepare_from_snapshot_unlisted_core_raises(tmp_path: Path, state: CoreState) -> None:
    """A core that could not be listed is an error, unless allowed or not a target."""
    snapshot = make_snapshot(tmp_path / "fleet.db", FLEET, states={"core-2": state})
    message = r"^1 core could not be listed \(AccessDeniedException\): core-2; scan again: .*--allow-incomplete$"
    assert_raises(GuardError, message, snapshot, "thing", "a")
    assert_raises(GuardError, "core-2; run the command again, or", snapshot, "core", "core-1", "core-2", scanned=True)
    assert prepare(snapshot, "core", "core-1")[1] == {("core-1", "a"), ("core-1", "b")}
    plan, pairs, _ = prepare(snapshot, "thing", "b", allow_incomplete=True)
    assert pairs == {("core-1", "b"), ("core-2", "b")}  # listed before the failure
    assert missing_names(plan) == {MissingReason.INCOMPLETE: MissingNames(1, ("core-2",))}


def test_prepare_from_snapshot_nothing_found_is_a_run_of_0_things(tmp_path: Path) -> None:
    """The plan lists the missing names by reason, ten at most."""
    snapshot = make_snapshot(tmp_path / "fleet.db", FLEET)
    names = [f"thing-{number:02}" for number in range(12)]
    plan, pairs, _ = prepare(snapshot, "thing", *names)
    assert (plan.things, plan.requests, pairs) == (0, 0, set())
    assert missing_names(plan) == {MissingReason.NOT_FOUND: MissingNames(12, tuple(names[:10]))}
    plan, pairs, _ = prepare(snapshot, "core", "core-3", "core-9")
    assert (plan.things, pairs) == (0, set())
    assert missing_names(plan) == {
        MissingReason.UNKNOWN: MissingNames(1, ("core-9",)),
        MissingReason.EMPTY: MissingNames(1, ("core-3",)),
    }


def test_prepare_from_snapshot_applies_guards(tmp_path: Path) -> None:
    """`protect` excludes things and counts them, `max_things` is a limit."""
    snapshot = make_snapshot(tmp_path / "fleet.db", FLEET)
    assert_raises(
        GuardError, "3 things, --max-things allows 2", snapshot, "thing", *"abc"[:2], settings=Settings(max_things=2)
    )
    (tmp_path / "never").mkdir()
    protect = tmp_path / "never" / "list.txt"
    protect.write_text("core:core-2\n")
    plan, pairs, _ = prepare(snapshot, "thing", "b", settings=Settings(protect=protect))
    assert (pairs, plan.protected) == ({("core-1", "b")}, 1)
    plan, pairs, _ = prepare(snapshot, "thing", "c", settings=Settings(protect=protect))
    assert (pairs, plan.things, plan.protected) == (set(), 0, 1)


def test_lookup_targets_invalid_name_raises() -> None:
    """A name that cannot exist is an error before the lookup."""
    with pytest.raises(UsageError, match="thing name `no name`"):
        LookupTargets.from_names("thing", ["a", "no name"], "the list")


def test_origin_if_finished_is_none_without_a_finished_snapshot(tmp_path: Path) -> None:
    """A missing, an empty and an unfinished file need a scan; another file is an error."""
    empty, other = tmp_path / "empty.db", tmp_path / "other.txt"
    empty.touch()
    other.write_text("x" * 200)
    unfinished = make_snapshot(tmp_path / "half.db", FLEET, finished="")
    assert [origin_if_finished(path) for path in (tmp_path / "none.db", empty, unfinished)] == [None] * 3
    assert origin_if_finished(make_snapshot(tmp_path / "fleet.db", FLEET)) == Origin("", ENDPOINT.region, ENDPOINT.url)
    with pytest.raises(SnapshotError):
        origin_if_finished(other)


NAMES = st.sampled_from([f"t{number}" for number in range(8)])


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fleet=st.dictionaries(st.sampled_from([f"c{number}" for number in range(5)]), st.sets(NAMES, max_size=5)),
    names=st.lists(NAMES, min_size=1),
)
def test_prepare_from_snapshot_selects_exactly_the_targets(
    tmp_path_factory: pytest.TempPathFactory, fleet: dict[str, set[str]], names: list[str]
) -> None:
    """In any fleet: the associations of these things and no others; each other name is reported."""
    snapshot = make_snapshot(tmp_path_factory.mktemp("fleet") / "fleet.db", {c: sorted(t) for c, t in fleet.items()})
    expected = {(core, thing) for core, things in fleet.items() for thing in things if thing in names}
    plan, pairs, _ = prepare(snapshot, "thing", *names)
    assert pairs == expected
    missing = missing_names(plan).get(MissingReason.NOT_FOUND, MissingNames(0, ()))
    assert set(missing.examples) == set(names) - {thing for _, thing in expected}
    assert missing.count == len(missing.examples)


@pytest.mark.virtual
async def test_disassociate_things_and_cores_run_to_completion(tmp_path: Path) -> None:
    """An association removed by another client since the scan counts as `already`."""
    snapshot = make_snapshot(tmp_path / "fleet.db", FLEET)
    service = make_service(FLEET)
    service.fleet.disassociate("core-1", "b")
    options: dict[str, Any] = {
        "inventory": snapshot,
        "transport": InProcessTransport(service, timeout=1.0),
        "rate": 100.0,
    }
    summary = await disassociate_things(["b"], journal=tmp_path / "1.journal", **options)
    assert (summary.state, summary.disassociated, summary.already) == (RunState.COMPLETE, 1, 1)
    assert associations(service) == {("core-1", "a"), ("core-2", "c")}
    summary = await disassociate_cores(["core-2"], journal=tmp_path / "2.journal", **options)
    assert (summary.total, summary.disassociated, summary.already, summary.failed) == (2, 1, 1, 0)
    assert associations(service) == {("core-1", "a")}
    for function, names in ((disassociate_things, ["gone"]), (disassociate_cores, ["core-3", "core-9"])):
        summary = await function(names, journal=tmp_path / f"{names[0]}.journal", **options)
        assert (summary.state, summary.total, summary.sent) == (RunState.COMPLETE, 0, 0)


@pytest.mark.virtual
async def test_disassociate_things_of_an_empty_list_must_be_allowed(tmp_path: Path) -> None:
    """An empty list is an error, or with `allow_empty` a run of 0 things that needs no scan."""
    options: dict[str, Any] = {"inventory": tmp_path / "none.db", "transport": InProcessTransport(make_service(FLEET))}
    with pytest.raises(UsageError, match=r"things: no associations to disassociate: .* --allow-empty"):
        await disassociate_things([], journal=tmp_path / "1.journal", **options)
    summary = await disassociate_things([], journal=tmp_path / "2.journal", allow_empty=True, **options)
    assert (summary.state, summary.total) == (RunState.COMPLETE, 0)
    assert not (tmp_path / "none.db").exists()
