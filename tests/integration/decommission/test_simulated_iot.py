"""`asyncgg decommission` against AWS IoT and Greengrass of the simulator, with answers of something between."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from asyncgg.simulator import FleetSpec, Simulator
from asyncgg.simulator.registry import certificate_id_of
from tests.integration.cli.conftest import StartSimulator
from tests.integration.decommission.test_decommission_command import Decommission
from tests.support.command_line import CommandRunner

THINGS = [f"d{number}" for number in range(4)]


@pytest.fixture
def simulator(serve: StartSimulator, tmp_path: Path, no_fsync: None) -> Simulator:
    """A core with four devices; the first three are in things.txt."""
    (tmp_path / "things.txt").write_text("\n".join(THINGS[:3]))
    return serve(FleetSpec.from_things({"core": THINGS}), iot_quota=("*=1000",), burst=100.0)


def test_stages_ignore_pages_of_a_proxy(simulator: Simulator, decommission: Decommission) -> None:
    """A page with status 200 is no empty list and no missing core device: the questions are asked again."""
    registry = simulator.service.registry
    before = copy.deepcopy(registry.to_dict())
    pages = ["page:200@ListThingPrincipals=1", "page:200@ListPrincipalThings=1", "page:404@GetCoreDevice=1"]
    simulator.service.set_faults(pages)
    code, result = decommission("plan", "--things", "things.txt")
    assert (code, result["devices"]["refused"], registry.to_dict()) == (0, 0, before)
    simulator.service.set_faults(pages)
    assert decommission("quarantine", "--things", "things.txt", "--journal", "j")[0] == 0
    statuses = {name: registry.certificates[certificate_id_of(name)].status for name in THINGS}
    assert statuses == dict.fromkeys(THINGS[:3], "INACTIVE") | {"d3": "ACTIVE"}
    assert decommission("release", "j")[0] == 0
    assert registry.to_dict() == before


def test_a_thing_without_connectivity_is_refused(simulator: Simulator, cli: CommandRunner) -> None:
    """A thing that the fleet index does not have is refused unless that is allowed."""
    simulator.service.registry.patch({"things": {"d0": {"indexed": False}}})
    command = ("decommission", "plan", "--things", "things.txt", "--json", "--quota", "1000")
    assert json.loads(cli(*command).out)["refusals"] == {"connectivity-unknown": 1}
    result = json.loads(cli(*command, "--allow-unknown-connectivity").out)
    assert (result["devices"]["refused"], result["connectivity_unknown"]) == (0, 1)
