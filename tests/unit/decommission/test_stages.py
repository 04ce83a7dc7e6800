"""The stages against the simulated AWS IoT, with a crash before and after every write, and late detaches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from asyncgg.decommission.guards import GuardOptions, Refusal
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import RefusalReason, Stage
from asyncgg.decommission.stages import StageRun
from asyncgg.simulator import FleetSpec, Request, Response, Service
from asyncgg.simulator.iot_call import route_iot
from asyncgg.simulator.registry import certificate_id_of
from tests.integration.cleanup.conftest import no_fsync
from tests.support.simulated_iot import WRITES, control_plane
from tests.support.simulator import make_service

__all__ = ["no_fsync"]

pytestmark = [pytest.mark.usefixtures("no_fsync"), pytest.mark.virtual, pytest.mark.asyncio]

LISTED = ["d0", "d1", "d2"]
OPTIONS = GuardOptions(account="123456789012", connected_within=0.0)
FLEET = FleetSpec.from_things({"core": [*LISTED, "d3"]})
QUARANTINE_WRITES = 4
DELETE_WRITES = 4 + 3 + 4 + 4  # detaches, things, policies, certificates


class CrashError(BaseException):
    """The process ends here."""


class CrashingIot:
    """Four devices with a certificate each; `d0` and `d1` also share one.

    `crash_at`: the number of the write at which the process ends, before it is applied, or after it
    with `crash_after`.
    """

    def __init__(self, **settings: Any) -> None:
        limits = {"iot_quota": ("*=1000",), "burst": 1000.0, "detach_delay": 8.0}
        self.service: Service = make_service(FLEET, **{**limits, **settings})
        self.registry = self.service.registry
        shared = certificate_id_of("both")
        self.registry.patch({"certificates": {shared: {"policies": ["device-policy"]}}})
        self.registry.attach("d0", shared)
        self.registry.attach("d1", shared)
        self.crash_at, self.crash_after = -1, False
        self.writes: list[str] = []
        """Every write that was applied without an error."""

    def handle(self, request: Request) -> Response:
        """Answer a request; raises `CrashError` at the chosen write."""
        now = asyncio.get_running_loop().time()
        call = route_iot(request, now, 250)
        if call is None or call.operation.name not in WRITES:
            return self.service.handle(request, now)
        is_crash = len(self.writes) == self.crash_at
        if is_crash and not self.crash_after:
            raise CrashError
        response = self.service.handle(request, now)
        if response.status == 200:
            self.writes.append(f"{call.operation.name} {call.subject}")
        if is_crash:
            raise CrashError
        return response

    def statuses(self) -> dict[str, str]:
        """The status of each certificate of a device by `both` or name."""
        names = {certificate_id_of(name): name for name in ["both", *LISTED, "d3"]}
        return {names[id_]: record.status for id_, record in self.registry.certificates.items() if id_ in names}


def open_journal(path: Path) -> DecommissionJournal:
    """The journal at the path, or a new one of `LISTED`."""
    return DecommissionJournal(path) if path.exists() else DecommissionJournal.create(path, LISTED)


async def quarantine(path: Path, iot: CrashingIot) -> None:
    """Start or continue a quarantine of `LISTED`."""
    with open_journal(path) as journal:
        run = StageRun(journal, Stage.QUARANTINE, control_plane(iot.service, iot.handle, 1000.0))
        await run.collect(OPTIONS)
        refused = journal.refusals(Stage.QUARANTINE)
        await run.switch([name for name in LISTED if name not in refused])


async def delete(path: Path, iot: CrashingIot) -> dict[str, Refusal]:
    """Start or continue the deletion; returns the refusals."""
    with DecommissionJournal(path) as journal:
        await journal.clear_refusals(Stage.DELETE)
        run = StageRun(journal, Stage.DELETE, control_plane(iot.service, iot.handle, 1000.0))
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


def assert_each_once(writes: Sequence[str]) -> None:
    """No write was applied twice."""
    assert sorted(writes) == sorted(set(writes))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(QUARANTINE_WRITES))
async def test_quarantine_resumes_after_a_crash_at_any_write(tmp_path: Path, number: int, after: bool) -> None:
    """Each certificate of the list is inactive, that of the other device active, and no write is repeated."""
    iot = CrashingIot()
    iot.crash_at, iot.crash_after = number, after
    await crash(quarantine(tmp_path / "j", iot))
    iot.crash_at = -1
    await quarantine(tmp_path / "j", iot)
    assert iot.statuses() == dict.fromkeys(["both", *LISTED], "INACTIVE") | {"d3": "ACTIVE"}
    assert_each_once(iot.writes)
    assert len(iot.writes) == QUARANTINE_WRITES


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(DELETE_WRITES))
async def test_delete_resumes_after_a_crash_at_any_write(tmp_path: Path, number: int, after: bool) -> None:
    """Exactly the listed things and their certificates are deleted, each once."""
    iot = CrashingIot()
    await quarantine(tmp_path / "j", iot)
    iot.writes.clear()
    iot.crash_at, iot.crash_after = number, after
    await crash(delete(tmp_path / "j", iot))
    iot.crash_at = -1
    assert await delete(tmp_path / "j", iot) == {}
    assert sorted(iot.registry.things) == ["core", "d3"]
    assert iot.statuses() == {"d3": "ACTIVE"}
    assert_each_once([write for write in iot.writes if write.startswith("Delete")])


async def test_delete_never_touches_a_recreated_thing(tmp_path: Path) -> None:
    """After a crash between intent and DeleteThing, a new thing of the same name stays."""
    iot = CrashingIot()
    await quarantine(tmp_path / "j", iot)
    iot.crash_at = len(iot.writes) + 4  # the first DeleteThing
    await crash(delete(tmp_path / "j", iot))
    iot.crash_at = -1
    iot.registry.patch({"things": {"d2": None}})
    iot.registry.create_thing("d2", "", {}, "")
    refusals = await delete(tmp_path / "j", iot)
    assert refusals["d2"].reason is RefusalReason.RECREATED
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
    iot = CrashingIot()
    iot.service.set_faults(faults)
    await quarantine(tmp_path / "j", iot)
    assert iot.statuses() == dict.fromkeys(["both", *LISTED], "INACTIVE") | {"d3": "ACTIVE"}
    assert await delete(tmp_path / "j", iot) == {}
    assert (sorted(iot.registry.things), iot.statuses()) == (["core", "d3"], {"d3": "ACTIVE"})
