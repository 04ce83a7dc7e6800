"""The stages with a crash before and after every write, and late detaches."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from asyncgg.decommission.control_plane import IotControlPlane
from asyncgg.decommission.guards import GuardOptions
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import RefusalReason, Stage
from asyncgg.decommission.stages import StageRun
from tests.integration.cleanup.conftest import no_fsync
from tests.support.fake_iot import CrashError, FakeIot

__all__ = ["no_fsync"]

pytestmark = [pytest.mark.usefixtures("no_fsync"), pytest.mark.virtual, pytest.mark.asyncio]

LISTED = ["d0", "d1", "d2"]
OPTIONS = GuardOptions(account="1", connected_within=0.0)
QUARANTINE_WRITES = 4
DELETE_WRITES = 4 + 3 + 4 + 4  # detaches, things, policies, certificates


def open_journal(path: Path) -> DecommissionJournal:
    """The journal at the path, or a new one of `LISTED`."""
    return DecommissionJournal(path) if path.exists() else DecommissionJournal.create(path, LISTED)


async def quarantine(path: Path, fake: FakeIot) -> None:
    """Start or continue a quarantine of `LISTED`."""
    with open_journal(path) as journal:
        run = StageRun(journal, Stage.QUARANTINE, cast(IotControlPlane, fake))
        await run.collect(OPTIONS)
        refused = journal.refusals(Stage.QUARANTINE)
        await run.switch([name for name in LISTED if name not in refused])


async def delete(path: Path, fake: FakeIot) -> dict[str, Any]:
    """Start or continue the deletion; returns the refusals."""
    with DecommissionJournal(path) as journal:
        await journal.clear_refusals(Stage.DELETE)
        run = StageRun(journal, Stage.DELETE, cast(IotControlPlane, fake))
        steps = journal.steps()
        pending = [name for name in LISTED if (step := steps.get((Stage.DELETE, name, "Device"))) is None or step.code]
        await run.check_again(pending, OPTIONS, ())
        refused = journal.refusals(Stage.DELETE)
        await run.delete([name for name in pending if name not in refused], delete_certificates=True)
        return journal.refusals(Stage.DELETE)


async def crash(work: Any) -> None:
    """Run `work` until it crashes, and end what it left running."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - a task group wraps the crash
        await work
    assert caught.group_contains(CrashError) if isinstance(caught.value, BaseExceptionGroup) else True
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(QUARANTINE_WRITES))
async def test_quarantine_resumes_after_a_crash_at_any_write(tmp_path: Path, number: int, after: bool) -> None:
    """Each certificate of the list is inactive, that of the other device active, and no write is repeated."""
    fake = FakeIot.with_devices(4)
    fake.crash_at, fake.crash_after = number, after
    await crash(quarantine(tmp_path / "j", fake))
    fake.crash_at = -1
    await quarantine(tmp_path / "j", fake)
    statuses = {id_: facts.status for id_, facts in fake.certificates.items()}
    assert statuses == dict.fromkeys(["c0", "c1", "c2", "both"], "INACTIVE") | {"c3": "ACTIVE"}
    assert len(fake.writes) == len(set(fake.writes)) == QUARANTINE_WRITES


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(DELETE_WRITES))
async def test_delete_resumes_after_a_crash_at_any_write(tmp_path: Path, number: int, after: bool) -> None:
    """Exactly the listed things and their certificates are deleted, each once."""
    fake = FakeIot.with_devices(4)
    await quarantine(tmp_path / "j", fake)
    fake.writes.clear()
    fake.crash_at, fake.crash_after = number, after
    await crash(delete(tmp_path / "j", fake))
    fake.crash_at = -1
    assert await delete(tmp_path / "j", fake) == {}
    assert fake.things == {"d3": "id-3"}
    assert list(fake.certificates) == ["c3"]
    deletions = [write for write in fake.writes if write[0].startswith("delete")]
    assert len(deletions) == len(set(deletions)) == 7


async def test_delete_never_touches_a_recreated_thing(tmp_path: Path) -> None:
    """After a crash between intent and DeleteThing, a new thing of the same name stays."""
    fake = FakeIot.with_devices(3)
    await quarantine(tmp_path / "j", fake)
    fake.crash_at = len(fake.writes) + 4  # the first DeleteThing
    await crash(delete(tmp_path / "j", fake))
    fake.crash_at = -1
    fake.things["d2"] = "another"
    refusals = await delete(tmp_path / "j", fake)
    assert refusals["d2"].reason is RefusalReason.RECREATED
    assert fake.things == {"d2": "another"}
