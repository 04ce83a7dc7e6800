"""Rule: what the next start makes of a night that did not end lives here: killed anywhere, stopped, left to rot."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from asyncgg.cleanup.telling import summary_line
from asyncgg.journal import FileLock, JournalReader
from asyncgg.model import RunState
from asyncgg.transport import Endpoint
from tests.cleanup.nightly import GUARDS, House

pytestmark = pytest.mark.usefixtures("unsynced")

CANARY = f"{GUARDS}canary = 10\n"
ELSEWHERE = Endpoint("us-east-1", "http://direct", True, "aws", "test")
KILLS = [
    *(("read", number) for number in (1, 4)),  # in the sweep
    *(("ask", number) for number in (1, 9)),  # while deciding
    *(("send", number) for number in (1, 2)),  # in the canary, before the service saw the request
    *(("sent", number) for number in (1, 2)),  # and after it did
    *(("read", number) for number in (8, 9)),  # while the canary is verified
    ("send", 4),  # in the run
    *(("sent", number) for number in (3, 5)),
]


@pytest.mark.parametrize(("kind", "number"), KILLS)
def test_killed_at_any_step(tmp_path: Path, kind: str, number: int) -> None:
    """After kill -9 the next start brings it to the right end: nothing lost, nothing twice but what was in flight."""
    house = House(tmp_path, guards=CANARY)
    assert house.killed(kind, number, concurrency=1)
    before = [(core, thing) for core, thing, _ in house.sent()]
    report = house.start()
    assert report.exit == 0, report.reason
    assert house.gone == house.goes
    sent = [(core, thing) for core, thing, _ in house.sent()]
    assert set(sent) == house.goes
    again = sent[len(before) :]
    assert len(again) == len(set(again))
    twice = set(before) & set(again)
    assert len(twice) <= 18  # of the two requests whose answers were not written down yet
    nights = house.nights()
    if report.resumed is not None:  # something had been decided: that is ended first, then this night looks for itself
        assert [night.name for night in nights] == [report.resumed.run_dir.name, report.run_dir.name]  # type: ignore[union-attr]
        assert report.reason == "nothing is selected"
        with JournalReader(nights[0].journal) as reader:
            assert reader.state() is RunState.COMPLETE
            assert {(row.core, row.thing) for row in reader.outcomes()} == house.goes
            assert reader.summary().already == len(twice)
    else:
        assert nights == [report.run_dir]
    assert all(night.state() == "complete" for night in nights)


def test_killed_twice(tmp_path: Path) -> None:
    """A start that goes on with a killed one may be killed itself, in sweep, canary and run; the third one ends it."""
    house = House(tmp_path, guards=CANARY)
    for kind, number in (("read", 3), ("ask", 3), ("sent", 1), ("read", 1), ("send", 2)):
        assert house.killed(kind, number)
    assert house.start().exit == 0
    assert house.gone == house.goes


def test_killed_without_leave_to_go_on(tmp_path: Path) -> None:
    """Where the policy does not say so nothing is gone on with: the night looks anew, and that is right as well."""
    house = House(tmp_path, state="[state]\nresume-unfinished = false\n")
    assert house.killed("sent", 1)
    report = house.start()
    assert (report.resumed, report.exit, house.gone) == (None, 0, house.goes)
    assert len(house.nights()) == 2


def stopped(tmp_path: Path, **how: object) -> House:
    """A house whose first night was interrupted in its run."""
    house = House(tmp_path, **how)  # type: ignore[arg-type]  # a test's own words
    house.on["sent", 1] = house.stop
    house.start(concurrency=1)
    house.on.clear()
    return house


def test_a_stopped_run_is_gone_on_with(tmp_path: Path) -> None:
    """Its report keeps what was told of sweep and decisions, and tells the new end."""
    house = stopped(tmp_path)
    assert 0 < len(house.gone) < len(house.goes)
    first = house.nights()[0]
    assert json.loads(first.report.read_text())["state"] == "interrupted"
    report = house.start()
    assert (report.exit, house.gone) == (0, house.goes)
    document = json.loads(first.report.read_text())
    assert (document["state"], document["exit"]) == ("complete", 0)
    assert document["decisions"]["selected"] == len(house.goes)
    assert document["sweep"]["cores"] == 6
    assert document["run"]["things"]["pending"] == 0
    assert summary_line(report).startswith(
        "asyncgg night: complete: nothing is selected; before that, asyncgg the earlier run"
    )


def test_a_changed_policy_decides_anew(tmp_path: Path) -> None:
    """What is protected since is not removed by yesterday's run, and the warning says why that was left."""
    house = stopped(tmp_path)
    before = house.gone
    house.guards = '[guards]\nprotect-names = ["precious-*", "core:core-holy", "thing:*-retired"]\n'
    house.write()
    report = house.start()
    assert (report.exit, report.resumed) == (0, None)
    assert house.gone == before | {pair for pair in house.goes if not pair[1].endswith("-retired")}
    (warning,) = house.warnings
    assert warning.startswith(f"{house.nights()[0].name} is not gone on with: since it was decided, the policy")


def test_a_changed_list_decides_anew(tmp_path: Path) -> None:
    """What the list of what must stay holds since yesterday stays."""
    house = stopped(tmp_path)
    before = house.gone
    with (tmp_path / "keep.txt").open("a") as keep:
        keep.writelines(f"{thing}\n" for _, thing in house.goes if thing.startswith("tmp-"))
    assert house.start().resumed is None
    assert house.gone == before | {pair for pair in house.goes if not pair[1].startswith("tmp-")}


@pytest.mark.parametrize("hours", [49, -1])
def test_an_old_run_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """A run that was decided more than two days ago, or in the future of a clock that went back, is decided anew."""
    house = stopped(tmp_path)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600 * hours)
    report = house.start()
    assert (report.resumed, report.exit) == (None, 0)
    assert house.warnings == [f"{house.nights()[0].name} is not gone on with: its sweep is not of the last 48 hours"]
    assert house.nights()[-1] == report.run_dir


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"target": ELSEWHERE, "account": "1"}, "account 1, us-east-1 (http://direct)"),
        ({"account": "2"}, "account 2, eu-west-1"),
        ({}, "account unknown, eu-west-1"),
    ],
)
def test_a_run_is_not_gone_on_with_elsewhere(tmp_path: Path, how: dict[str, object], told: str) -> None:
    """Another account, an unknown one, another Region: nothing is sent, and the run stays for where it belongs."""
    house = House(tmp_path)
    house.on["sent", 1] = house.stop
    house.start(concurrency=1, account="1")
    house.on.clear()
    sent = house.sent()
    report = house.start(**how)
    assert (report.exit, house.sent()) == (4, sent)
    assert told in report.reason
    assert len(house.nights()) == 1
    assert house.start(account="1").exit == 0
    assert house.gone == house.goes


def test_an_aborted_run_is_not_gone_on_with(tmp_path: Path) -> None:
    """What a guard stopped is for a person; the next night decides anew and keeps the journal."""
    house = House(tmp_path, guards=f"{GUARDS}abort-at = 5\nabort-after = 5\n")
    house.service.set_faults(["entry:Odd"])
    report = house.start()
    assert (report.state, report.exit) == (RunState.ABORTED, 4)
    house.service.set_faults([])
    again = house.start()
    assert (again.exit, again.resumed, house.gone) == (0, None, house.goes)
    assert report.run_dir is not None
    with JournalReader(report.run_dir.journal) as reader:
        assert reader.state() is RunState.ABORTED


# --- a sweep that was left ---


def test_a_killed_sweep_is_gone_on_with(tmp_path: Path) -> None:
    """Killed after its sweep, a night is gone on with by what that saw: no core is listed twice."""
    house = House(tmp_path)
    assert house.killed("ask", 1)
    report = house.start()
    assert (report.exit, house.gone, house.steps["read"]) == (0, house.goes, 0)
    assert report.scan is not None
    assert (report.scan.counts.cores, report.scan.sent) == (6, 0)


@pytest.mark.parametrize(
    ("kill", "change"),
    [
        (("read", 3), "region"),
        (("ask", 1), "region"),
        (("ask", 1), "account"),
        (("read", 3), "sources"),
        (("ask", 1), "sources"),
        (("ask", 1), "age"),
        (("read", 3), "clock"),
    ],
)
def test_a_sweep_of_something_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: tuple[str, int], change: str
) -> None:
    """A sweep of another Region, account or choice of cores, or one too old, finished or not, decides nothing."""
    house = House(tmp_path)
    assert house.killed(*kill)
    how: dict[str, object] = {"region": {"target": ELSEWHERE}, "account": {"account": "2"}}.get(change, {})  # type: ignore[assignment]
    if change == "sources":
        house.rules += 'status = "HEALTHY"\n'
        house.write()
    real = time.time
    shift = {"age": 7 * 3600, "clock": -3600}.get(change, 0)
    monkeypatch.setattr(time, "time", lambda: real() + shift)
    report = house.start(**how)
    assert (report.exit, house.gone) == (0, house.goes)
    assert house.steps["read"] == 7
    assert len(house.nights()) == 2
    assert len(house.warnings) == 1
    assert house.warnings[0].startswith(f"{house.nights()[0].name} is not gone on with: its sweep ")


def test_a_damaged_night_is_left_as_it_is(tmp_path: Path) -> None:
    """A journal that cannot be read may hold what was sent: it is told of, not touched."""
    house = House(tmp_path)
    assert house.killed("send", 1)
    journal = house.nights()[0].journal
    journal.write_bytes(b"no journal")
    report = house.start()
    assert (report.exit, house.gone) == (0, house.goes)
    assert journal.read_bytes() == b"no journal"
    assert "it is not an asyncgg journal" in house.warnings[0]


@pytest.mark.parametrize("resume", ["true", "false"])
def test_a_run_that_somebody_runs_by_hand(tmp_path: Path, resume: str) -> None:
    """Last night's run, resumed by hand right now, is waited for by a person: two limiters would share one quota."""
    house = stopped(tmp_path)
    house.state = f"[state]\nresume-unfinished = {resume}\n"
    house.write()
    lock = FileLock(house.nights()[0].journal)
    report = house.start()
    lock.release()
    assert (report.exit, "somebody runs it by hand" in report.reason) == (4, True)
    assert house.steps["read"] == 0
