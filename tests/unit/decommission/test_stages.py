"""The stages against the simulated AWS IoT, with a crash before and after every write, and late detaches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from asyncgg.decommission.guards import GuardOptions, Refusal
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import RefusalReason, Stage
from asyncgg.decommission.report import devices_of_stage
from asyncgg.decommission.stages import DEVICE, StageRun
from asyncgg.simulator import FleetSpec
from asyncgg.simulator.registry import certificate_id_of
from tests.support.simulated_iot import CrashingIot, crash

pytestmark = [pytest.mark.virtual, pytest.mark.asyncio]

LISTED = ["d0", "d1", "d2"]
OPTIONS = GuardOptions(account="123456789012", connected_within=0.0)
FLEET = FleetSpec.from_things({"core": [*LISTED, "d3"]})
QUARANTINE_WRITES = 4
DELETE_WRITES = 4 + 3 + 4 + 4  # detaches, things, policies, certificates


class DeviceIot(CrashingIot):
    """Four devices with a certificate each; `d0` and `d1` also share one."""

    def __init__(self) -> None:
        super().__init__(FLEET)
        shared = certificate_id_of("both")
        self.registry.patch({"certificates": {shared: {"policies": ["device-policy"]}}})
        self.registry.attach("d0", shared)
        self.registry.attach("d1", shared)

    def statuses(self) -> dict[str, str]:
        """The status of each certificate of a device by `both` or name."""
        names = {certificate_id_of(name): name for name in ["both", *LISTED, "d3"]}
        return {names[id_]: record.status for id_, record in self.registry.certificates.items() if id_ in names}


def open_journal(path: Path) -> DecommissionJournal:
    """The journal at the path, or a new one of `LISTED`."""
    return DecommissionJournal(path) if path.exists() else DecommissionJournal.create(path, LISTED)


async def quarantine(path: Path, iot: DeviceIot) -> None:
    """Start or continue a quarantine of `LISTED`."""
    with open_journal(path) as journal:
        run = StageRun(journal, Stage.QUARANTINE, iot.control_plane())
        await run.collect(OPTIONS)
        await run.switch(journal.allowed(Stage.QUARANTINE, LISTED))


async def delete(path: Path, iot: DeviceIot) -> dict[str, Refusal]:
    """Start or continue the deletion; returns the refusals."""
    with DecommissionJournal(path) as journal:
        run = StageRun(journal, Stage.DELETE, iot.control_plane())
        steps = journal.steps()
        pending = [name for name in LISTED if not steps.is_done(Stage.DELETE, name, DEVICE)]
        await run.check_again(pending, OPTIONS, ())
        await run.delete(journal.allowed(Stage.DELETE, pending), delete_certificates=True)
        return journal.refusals(Stage.DELETE)


def assert_each_once(writes: Sequence[str]) -> None:
    """No write was applied twice."""
    assert sorted(writes) == sorted(set(writes))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(QUARANTINE_WRITES))
async def test_quarantine_resumes_after_a_crash_at_any_write(tmp_path: Path, number: int, after: bool) -> None:
    """Each certificate of the list is inactive, that of the other device active, and no write is repeated."""
    iot = DeviceIot()
    iot.crash_at, iot.crash_after = number, after
    assert await crash(quarantine(tmp_path / "j", iot))
    iot.crash_at = -1
    await quarantine(tmp_path / "j", iot)
    assert iot.statuses() == dict.fromkeys(["both", *LISTED], "INACTIVE") | {"d3": "ACTIVE"}
    assert_each_once(iot.writes)
    assert len(iot.writes) == QUARANTINE_WRITES


@pytest.mark.parametrize("after", [False, True])
async def test_release_after_a_crash_of_the_quarantine(tmp_path: Path, after: bool) -> None:
    """A release without a resume before it restores every certificate, also one that was possibly not changed."""
    iot = DeviceIot()
    iot.crash_at, iot.crash_after = 2, after
    assert await crash(quarantine(tmp_path / "j", iot))
    iot.crash_at = -1
    with DecommissionJournal(tmp_path / "j") as journal:
        run = StageRun(journal, Stage.RELEASE, iot.control_plane())
        await run.switch(devices_of_stage(journal, Stage.RELEASE))
        assert journal.refusals(Stage.RELEASE) == {}
    assert iot.statuses() == dict.fromkeys(["both", *LISTED, "d3"], "ACTIVE")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(DELETE_WRITES))
async def test_delete_resumes_after_a_crash_at_any_write(tmp_path: Path, number: int, after: bool) -> None:
    """Exactly the listed things and their certificates are deleted, each once."""
    iot = DeviceIot()
    await quarantine(tmp_path / "j", iot)
    iot.writes.clear()
    iot.crash_at, iot.crash_after = number, after
    assert await crash(delete(tmp_path / "j", iot))
    iot.crash_at = -1
    assert await delete(tmp_path / "j", iot) == {}
    assert sorted(iot.registry.things) == ["core", "d3"]
    assert iot.statuses() == {"d3": "ACTIVE"}
    assert_each_once([write for write in iot.writes if write.startswith("Delete")])


async def test_delete_never_touches_a_recreated_thing(tmp_path: Path) -> None:
    """After a crash between intent and DeleteThing, a new thing of the same name stays."""
    iot = DeviceIot()
    await quarantine(tmp_path / "j", iot)
    iot.crash_at = len(iot.writes) + 4  # the first DeleteThing
    assert await crash(delete(tmp_path / "j", iot))
    iot.crash_at = -1
    iot.registry.patch({"things": {"d2": None}})
    iot.registry.create_thing("d2", "", {}, "")
    refusals = await delete(tmp_path / "j", iot)
    assert refusals["d2"].reason is RefusalReason.RECREATED
    assert sorted(iot.registry.things) == ["core", "d2", "d3"]


async def test_quarantine_asks_once_for_each_policy(tmp_path: Path) -> None:
    """Devices that are asked about at the same time have the same policy as a rule, and GetPolicy a small quota."""
    iot = DeviceIot()
    await quarantine(tmp_path / "j", iot)
    assert iot.service.counters.requests["GetPolicy"] == 1


async def test_delete_asks_once_for_each_ca(tmp_path: Path) -> None:
    """A CA that registers certificates by itself refuses all of its devices, with one request."""
    iot = DeviceIot()
    ca = "ca" * 32
    own = {certificate_id_of(name): {"ca_id": ca} for name in LISTED}
    iot.registry.patch({"certificates": own, "cas": {ca: "ENABLE"}})
    await quarantine(tmp_path / "j", iot)
    refusals = await delete(tmp_path / "j", iot)
    assert {refusal.reason for refusal in refusals.values()} == {RefusalReason.AUTO_REGISTRATION}
    assert iot.service.counters.requests["DescribeCACertificate"] == 1


async def test_delete_refuses_a_changed_thing(tmp_path: Path) -> None:
    """A thing is still in use if its attributes changed since the quarantine."""
    iot = DeviceIot()
    await quarantine(tmp_path / "j", iot)
    iot.registry.update_thing("d2", {"site": "new"})
    assert (await delete(tmp_path / "j", iot))["d2"].reason is RefusalReason.CHANGED
    assert sorted(iot.registry.things) == ["core", "d2", "d3"]


@pytest.mark.parametrize(
    "faults",
    [
        ["throttling-400@De*Thing*=6", "throttling-400@Up*=3"],
        ["500-after@De*T*=6", "500-after@Up*=2", "500-after@De*e=4"],
        ["reset-after@De*Thing*=6", "500-after@DetachPolicy=2", "500-after@DeleteCert*=2"],
    ],
)
async def test_stages_survive_failed_requests(tmp_path: Path, faults: list[str]) -> None:
    """Throttled requests are repeated; those whose response was lost too, after a look at the thing."""
    iot = DeviceIot()
    iot.service.set_faults(faults)
    await quarantine(tmp_path / "j", iot)
    assert iot.statuses() == dict.fromkeys(["both", *LISTED], "INACTIVE") | {"d3": "ACTIVE"}
    assert await delete(tmp_path / "j", iot) == {}
    assert (sorted(iot.registry.things), iot.statuses()) == (["core", "d3"], {"d3": "ACTIVE"})
