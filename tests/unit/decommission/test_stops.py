"""What ends a stage early: changes by others, a canary that fails, and failures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest.mock import create_autospec

import pytest

from asyncgg.decommission.guards import GuardOptions
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import RefusalReason, Stage
from asyncgg.decommission.shadow_service import ShadowService
from asyncgg.decommission.shadows import ShadowArchive, ShadowOptions
from asyncgg.decommission.stages import StageLimits, StageRun
from asyncgg.models import RunState
from asyncgg.simulator import FleetSpec, Request, Response
from asyncgg.simulator.iot_call import route_iot
from asyncgg.simulator.registry import certificate_id_of
from tests.support.simulated_iot import CrashingIot

pytestmark = [pytest.mark.virtual, pytest.mark.asyncio]

LISTED = [f"d{number}" for number in range(4)]
OPTIONS = GuardOptions(account="123456789012", connected_within=0.0)


class OperatedIot(CrashingIot):
    """AWS IoT in which another program does something before the first request of an operation."""

    def __init__(self) -> None:
        super().__init__(FleetSpec.from_things({"core": LISTED}))
        self.others: dict[str, Callable[[], object]] = {}

    def handle(self, request: Request) -> Response:
        """See `CrashingIot.handle`."""
        call = route_iot(request, 0.0, 250)
        if call is not None and call.operation.name in self.others:
            self.others.pop(call.operation.name)()
        return super().handle(request)

    def set_status(self, name: str, status: str) -> None:
        """Change the certificate of a thing, as another program."""
        self.registry.set_status(certificate_id_of(name), status, 1.0)

    def activate_all(self) -> None:
        """Activate the certificates of all devices."""
        for name in LISTED:
            self.set_status(name, "ACTIVE")

    def status(self, name: str) -> str:
        """The status of the certificate of a thing."""
        return self.registry.certificates[certificate_id_of(name)].status


async def quarantine(journal: DecommissionJournal, iot: OperatedIot, limits: StageLimits | None = None) -> StageRun:
    """Quarantine `LISTED`."""
    run = StageRun(journal, Stage.QUARANTINE, iot.control_plane(), limits)
    await run.collect(OPTIONS)
    await run.switch(LISTED)
    return run


async def test_a_certificate_that_others_activate_stops_the_deletion(tmp_path: Path) -> None:
    """DeleteCertificate answers 406: it is not deactivated again, and no further device begins."""
    iot = OperatedIot()
    with DecommissionJournal.create(tmp_path / "j", LISTED) as journal:
        await quarantine(journal, iot)
        iot.others["DeleteCertificate"] = iot.activate_all
        run = StageRun(journal, Stage.DELETE, iot.control_plane())
        await run.delete(LISTED, delete_certificates=True)
    assert run.state == RunState.ABORTED
    assert "another program" in run.reason
    assert {iot.status(name) for name in LISTED} == {"ACTIVE"}


async def test_a_certificate_activated_between_the_stages_is_refused(tmp_path: Path) -> None:
    """Nothing of its device is changed, not even a shadow; the same status at another time is a change, too."""
    iot = OperatedIot()
    with DecommissionJournal.create(tmp_path / "j", LISTED) as journal:
        await quarantine(journal, iot)
        iot.set_status("d0", "ACTIVE")
        iot.set_status("d1", "ACTIVE")
        iot.set_status("d1", "INACTIVE")
        run = StageRun(journal, Stage.DELETE, iot.control_plane())
        await run.check_again(LISTED, OPTIONS, ())
        refused = journal.refusals(Stage.DELETE)
        assert {name: refusal.reason for name, refusal in refused.items()} == {
            "d0": RefusalReason.CHANGED,
            "d1": RefusalReason.CHANGED,
        }
        # and also if it happens after the check
        iot.set_status("d2", "ACTIVE")
        service = create_autospec(ShadowService, instance=True)
        shadows = ShadowOptions(service, ShadowArchive(tmp_path / "j"), delete=True)
        await run.delete(["d2"], delete_certificates=False, shadows=shadows)
        assert journal.refusals(Stage.DELETE)["d2"].reason is RefusalReason.CHANGED
    assert service.mock_calls == []
    assert {"d0", "d1", "d2"} < iot.registry.things.keys()


async def test_a_canary_that_fails_stops_the_quarantine(tmp_path: Path) -> None:
    """The other devices keep their certificates; a canary that succeeds lets them follow."""
    iot = OperatedIot()
    with DecommissionJournal.create(tmp_path / "j", LISTED) as journal:
        iot.service.set_faults(["500@UpdateCertificate=8"])  # as many as a request has attempts
        run = await quarantine(journal, iot, StageLimits(canary=1))
        assert (run.state, run.reason) == (RunState.ABORTED, "the canary did not succeed")
        assert {iot.status(name) for name in LISTED} == {"ACTIVE"}
        assert run.progress().failed == 1
        run = await quarantine(journal, iot, StageLimits(canary=1))
        assert (run.state, run.progress().finished) == ("", 4)
    assert {iot.status(name) for name in LISTED} == {"INACTIVE"}


async def test_failures_stop_the_quarantine(tmp_path: Path) -> None:
    """At the percentage of failed devices the run is aborted."""
    iot = OperatedIot()
    with DecommissionJournal.create(tmp_path / "j", LISTED) as journal:
        iot.service.set_faults(["500@UpdateCertificate=100%"])
        run = await quarantine(journal, iot, StageLimits(canary=0, abort_at=25.0, abort_after=1))
    assert (run.state, run.reason.partition(" of ")[0]) == (RunState.ABORTED, "1")


async def test_a_stop_during_the_check_refuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether other things use a certificate is known only once all devices were asked about."""
    monkeypatch.setattr("asyncgg.decommission.stages.MAX_DEVICES_AT_ONCE", 1)
    iot = OperatedIot()
    iot.registry.attach("d0", certificate_id_of("d3"))
    with DecommissionJournal.create(tmp_path / "j", LISTED) as journal:
        await quarantine(journal, iot)
        run = StageRun(journal, Stage.DELETE, iot.control_plane())
        iot.others["DescribeThing"] = lambda: run.stop("stopped")
        await run.check_again(LISTED, OPTIONS, ())
        assert (run.progress().finished, run.reason) == (1, "stopped")
        assert journal.refusals(Stage.DELETE) == {}
