"""Rule: stopping, cancelling and going on with a sweep, and which files it refuses to go on with, are tested here."""

from __future__ import annotations

import asyncio
import itertools
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from asyncgg.engine import StopReason
from asyncgg.errors import SnapshotError, SnapshotWriteError, UsageError
from asyncgg.events import Event, Stopping
from asyncgg.inventory import Origin, ScanOptions, Snapshot, minimum_requests, scan_fleet
from asyncgg.inventory.books import ScanState
from asyncgg.inventory.opening import ScanScope
from asyncgg.inventory.writer import SnapshotWriter
from asyncgg.model import NoResponse, RunState
from asyncgg.simulator import FleetSpec
from asyncgg.transport.reads import CoreFilter

from .support import Bench, fleet

pytestmark = pytest.mark.virtual

SIZES = [250, 0, 120, 1] * 10
EUROPE = Origin("123456789012", "eu-west-1", "https://greengrass.eu-west-1.amazonaws.com")


def at_request(bench: Bench, number: int, act: Any) -> None:
    """Do something when the service sees this request."""
    seen = itertools.count(1)

    def look(core: str, token: str) -> None:
        if next(seen) == number:
            act()

    bench.reads.before = look


def interrupt(bench: Bench) -> None:
    """Stop the sweep as Ctrl-C does."""
    assert bench.sweep is not None
    bench.sweep.stop(StopReason(RunState.INTERRUPTED, "stopped by Ctrl-C"))


async def test_a_stopped_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    """What is under way ends and counts; both starts together ask for each page once."""
    bench = Bench(tmp_path / "fleet.db", fleet(SIZES))
    at_request(bench, 30, lambda: interrupt(bench))
    swept = await bench.start()
    assert (swept.state, swept.reason, swept.finished) == (RunState.INTERRUPTED, "stopped by Ctrl-C", False)
    assert bench.told(Stopping) == [Stopping("stopped by Ctrl-C")]
    with Snapshot(bench.path) as snapshot:
        assert not snapshot.finished
        with pytest.raises(SnapshotError, match="not finished; go on with it"):
            snapshot.require_finished()
    bench.reads.before = lambda core, token: None
    again = await bench.start()
    assert again.state is RunState.COMPLETE
    assert again.sent == minimum_requests(SIZES) == len(bench.reads.asked) == len(set(bench.reads.asked))
    bench.check()


async def test_the_deadline_leaves_it_resumable(tmp_path: Path) -> None:
    """A sweep that takes longer than it may stops in time and is gone on with."""
    bench = Bench(tmp_path / "fleet.db", fleet(SIZES))
    began = bench.loop.time()
    swept = await bench.start(options=ScanOptions(deadline=0.3))
    assert swept.state is RunState.DEADLINE
    assert bench.loop.time() - began < 0.5
    assert (await bench.start()).sent == minimum_requests(SIZES)
    bench.check()


@pytest.mark.parametrize("request_number", [1, 2, 3, 30, 71])
async def test_a_cancelled_sweep_goes_on_where_it_was(tmp_path: Path, request_number: int) -> None:
    """Cancelling leaves a file that can be gone on with at once; what was under way is asked for again."""
    bench = Bench(tmp_path / "fleet.db", fleet(SIZES))
    task = asyncio.ensure_future(bench.start())
    at_request(bench, request_number, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    bench.reads.before = lambda core, token: None
    assert (await bench.start()).state is RunState.COMPLETE
    bench.check()


async def test_cores_that_came_meanwhile_may_be_missing_but_none_that_was_told(tmp_path: Path) -> None:
    """A fleet that changes between two starts: what the second one still has to list is listed as it is then."""
    bench = Bench(tmp_path / "fleet.db", fleet({"a": 150, "b": 150, "c": 150}))
    at_request(bench, 3, lambda: interrupt(bench))
    await bench.start(options=ScanOptions(concurrency=1))
    listed = {core for core, _ in bench.reads.asked if core}
    assert listed == {"a"}
    bench.service.fleet.disassociate("c", "c-0007")
    bench.reads.before = lambda core, token: None
    await bench.start()
    bench.check()


async def test_a_listener_that_raises_ends_the_sweep(tmp_path: Path) -> None:
    """Its error reaches the caller, and the sweep is resumable."""
    bench = Bench(tmp_path / "fleet.db", fleet([1, 1]), fault=("500#2",))

    def fail(event: Event) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await scan_fleet(bench.path, await _lane(bench), bench.reads, listeners=[fail], threaded=False)
    assert (await bench.start()).state is RunState.COMPLETE


async def _lane(bench: Bench) -> Any:
    from asyncgg.engine import Lane
    from asyncgg.ratelimit import FixedRate

    return Lane(bench.reads, FixedRate(100.0))


# --- which file ---


async def begun(path: Path, **how: Any) -> None:
    """An unfinished sweep at `path`."""
    bench = Bench(path, fleet(SIZES))
    at_request(bench, 20, lambda: interrupt(bench))
    await bench.start(**{"origin": EUROPE, **how})


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "account": ({"origin": Origin("999999999999", EUROPE.region, EUROPE.endpoint)}, "account 123456789012, this one"),
    "region": ({"origin": Origin("123456789012", "us-east-1", EUROPE.endpoint)}, "region eu-west-1, this one"),
    "endpoint": ({"origin": Origin("123456789012", "eu-west-1", "http://x")}, "endpoint https://greengrass"),
    "filters": ({"filters": CoreFilter(status="HEALTHY")}, "no filters, this one is of status HEALTHY"),
    "cores": ({"cores": ["core-001"]}, "all cores, this one is of these named cores"),
}


@pytest.mark.parametrize("name", OTHERS)
async def test_another_sweep_is_refused(tmp_path: Path, name: str) -> None:
    """An unfinished sweep of another account, Region, endpoint, filter or of other cores is not gone on with."""
    await begun(tmp_path / "fleet.db")
    other, words = OTHERS[name]
    bench = Bench(tmp_path / "fleet.db", fleet(SIZES))
    with pytest.raises(SnapshotError, match=f"unfinished sweep of {re.escape(words)}"):
        await bench.start(**{"origin": EUROPE, **other})
    assert bench.reads.asked == []


async def test_an_account_nobody_knows_may_be_any(tmp_path: Path) -> None:
    """With a custom endpoint the account is not asked for; that is no reason to refuse, and the known one stays."""
    await begun(tmp_path / "fleet.db")
    bench = Bench(tmp_path / "fleet.db", fleet(SIZES))
    await bench.start(origin=Origin("", EUROPE.region, EUROPE.endpoint))
    with Snapshot(bench.path) as snapshot:
        assert snapshot.origin == EUROPE


async def test_an_old_one_is_refused(tmp_path: Path) -> None:
    """After a day it would be a snapshot of a fleet that never was; the limit can be told."""
    await begun(tmp_path / "fleet.db")
    with sqlite3.connect(tmp_path / "fleet.db") as connection:
        connection.execute("UPDATE meta SET value = value - 100000 WHERE key = 'begun'")
    connection.close()
    bench = Bench(tmp_path / "fleet.db", fleet(SIZES))
    with pytest.raises(SnapshotError, match="begun 28 hours ago"):
        await bench.start(origin=EUROPE)
    await bench.start(origin=EUROPE, options=ScanOptions(max_age=200_000.0))
    bench.check()


async def test_a_finished_one_is_refused(tmp_path: Path) -> None:
    """What is there stays as it is."""
    bench = Bench(tmp_path / "fleet.db", fleet([1]))
    await bench.start()
    before = bench.path.read_bytes()
    with pytest.raises(SnapshotError, match="it is finished"):
        await bench.start()
    assert bench.path.read_bytes() == before


async def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second sweep into the same file is refused while the first one goes on."""
    bench = Bench(tmp_path / "fleet.db", fleet([1]))
    writer = SnapshotWriter(bench.path, threaded=False)
    with pytest.raises(SnapshotError, match="another process is sweeping into it"):
        await bench.start()
    writer.close()
    assert (await bench.start()).state is RunState.COMPLETE


async def test_one_that_had_nothing_yet_may_become_any(tmp_path: Path) -> None:
    """A start that got no page (a wrong endpoint, say) leaves nothing that would refuse the right one."""
    bench = Bench(tmp_path / "fleet.db", fleet([1]))
    bench.reads.before = lambda core, token: NoResponse("connect", "nobody there", sent=False)
    assert (await bench.start(origin=EUROPE, cores=["core-000"])).state is RunState.ABORTED
    bench.reads.before = lambda core, token: None
    swept = await bench.start()
    assert (swept.state, swept.sent) == (RunState.COMPLETE, 2)
    bench.check()


async def test_an_empty_file_is_a_new_one(tmp_path: Path) -> None:
    """A crash right after the file was made leaves it empty: that is no reason to refuse it."""
    bench = Bench(tmp_path / "fleet.db", fleet([1]))
    bench.path.touch()
    assert (await bench.start()).state is RunState.COMPLETE


async def test_a_scope_must_be_sound() -> None:
    """Names that are none, and filters beside names, are refused before anything is made."""
    with pytest.raises(UsageError, match=r"core 'x/y' has characters outside"):
        ScanScope.of(EUROPE, None, ["x/y"])
    with pytest.raises(UsageError, match="give either them or the cores' names"):
        ScanScope.of(EUROPE, CoreFilter(status="HEALTHY"), ["core"])


# --- the disk ---


async def test_a_full_disk_stops_the_asking(tmp_path: Path) -> None:
    """When a page cannot be written nothing further is asked for; with room again the sweep goes on."""
    bench = Bench(
        tmp_path / "fleet.db", FleetSpec.from_things({f"c{n}": [f"{n}-{t}" for t in range(99)] for n in range(99)})
    )
    with pytest.raises(SnapshotWriteError, match="the disk is full; free some space"):
        await _sweep_in(bench, pages=20)
    asked = len(bench.reads.asked)
    assert asked < 90
    assert (await bench.start()).state is RunState.COMPLETE
    bench.check()


async def _sweep_in(bench: Bench, pages: int) -> None:
    """Sweep into a file that may grow to so many pages only."""
    before = ScanState.restore_queue

    def cramped(self: ScanState, *arguments: Any) -> None:
        self._writer._connection.execute(f"PRAGMA max_page_count = {pages}")
        before(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScanState, "begin", cramped)
        await bench.start()
