"""Whatever the fleet, the faults and the crashes: exactly the devices change that the rules allow."""

from __future__ import annotations

import copy
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncgg.decommission.guards import GuardOptions
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import Stage
from asyncgg.decommission.report import devices_of_stage
from asyncgg.decommission.stages import DEVICE, StageRun
from asyncgg.simulator import FleetSpec
from asyncgg.testing import run_virtual
from tests.support.simulated_iot import CrashingIot, crash

NAMES = [f"d{number}" for number in range(5)]
CERTIFICATES = [letter * 64 for letter in "abcde"]
FLEET = FleetSpec.from_things({"d4": NAMES[:4]})
"""`d4` is a core device with a thing of this name."""
CA = "f" * 64
CLAIM = '{"Statement": [{"Resource": "arn:aws:iot:*:*:topic/$aws/provisioning-templates/t/provision/*"}]}'
THING_CHANGES: list[dict[str, Any]] = [
    {"attributes": {"decommission": "never"}},
    {"connectivity": {"connected": True}},
    {"connectivity": {"connected": False, "timestamp": (2e9 - 7_200) * 1_000}},  # two hours ago
    {"connectivity": None},
    {"indexed": False},
]
CERTIFICATE_CHANGES: list[dict[str, Any]] = [
    *({"status": status} for status in ("INACTIVE", "REVOKED", "PENDING_TRANSFER")),
    {"owner": "999999999999"},
    {"ca_id": CA},
    {"policies": []},
    {"policies": ["p", "claim"]},
]


FAULTS = ["throttling-400=3", "500-after=2", "500=2", "reset-after@De*Thing*=1"]


def random_fleet(rng: random.Random) -> dict[str, Any]:
    """A certificate for each thing, and some that are shared or differ from that."""
    things = {name: {"principals": [id_]} for name, id_ in zip(NAMES, CERTIFICATES, strict=True)}
    certificates: dict[str, dict[str, Any]] = {id_: {"policies": ["p"]} for id_ in CERTIFICATES}
    for _ in range(rng.randrange(4)):
        name, id_ = rng.choice(NAMES), rng.choice(CERTIFICATES)
        if id_ not in things[name]["principals"]:
            things[name]["principals"].append(id_)
    for records, share, changes in ((things, 0.1, THING_CHANGES), (certificates, 0.25, CERTIFICATE_CHANGES)):
        for record in records.values():
            record |= rng.choice(changes) if rng.random() < share else {}
    cas = {CA: rng.choice(["ENABLE", "DISABLE"])}
    return {"things": things, "certificates": certificates, "cas": cas, "policies": {"p": "{}", "claim": CLAIM}}


Registry = Mapping[str, Mapping[str, Any]]


def allowed_devices(state: Registry, listed: list[str]) -> set[str]:
    """The devices that a quarantine may change, from the state alone."""

    def is_allowed(name: str) -> bool:
        thing = state["things"][name]
        owned = [state["certificates"][id_] for id_ in thing["principals"]]
        return (
            name != "d4"
            and not thing["attributes"]
            and thing["indexed"]
            and thing["connectivity"] == {"connected": False}
            and all(item["status"] in ("ACTIVE", "INACTIVE") and not item["owner"] for item in owned)
            and not any("claim" in item["policies"] for item in owned)
        )

    allowed = {name for name in listed if is_allowed(name)}
    while True:
        others = {id_ for name, thing in state["things"].items() if name not in allowed for id_ in thing["principals"]}
        sharing = {name for name in allowed if others & set(state["things"][name]["principals"])}
        if not sharing:
            return allowed
        allowed -= sharing


class Scenario:
    """One journal; each stage may crash once and is continued then."""

    def __init__(self, iot: CrashingIot, path: Path, listed: list[str]) -> None:
        self.iot, self.path, self.listed = iot, path, listed
        self.options = GuardOptions(account="123456789012", now=2e9)

    async def run(self, stage: Stage, crash_at: int, crash_after: bool) -> None:
        """Run a stage to its end."""
        self.iot.crash_at, self.iot.crash_after = len(self.iot.writes) + crash_at, crash_after
        while await crash(self._stage(stage)):
            self.iot.crash_at = -1

    async def _stage(self, stage: Stage) -> None:
        with DecommissionJournal(self.path) as journal:
            run = StageRun(journal, stage, self.iot.control_plane())
            if stage is Stage.QUARANTINE:
                await run.collect(self.options)
                await run.switch(journal.allowed(stage, self.listed))
            elif stage is Stage.RELEASE:
                await run.switch(devices_of_stage(journal, stage))
            else:
                steps = journal.steps()
                quarantined = [name for name in self.listed if (Stage.QUARANTINE, name, DEVICE) in steps]
                pending = [name for name in quarantined if (stage, name, DEVICE) not in steps]
                await run.check_again(pending, self.options, ())
                await run.delete(journal.allowed(stage, pending), delete_certificates=True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**9))
def test_only_allowed_devices_change(seed: int) -> None:
    """Quarantine, then release or delete, with faults and a crash: all else is as before, to the byte."""
    rng = random.Random(seed)  # fleets that hypothesis builds itself are mostly plain
    state, listed, is_deleted = random_fleet(rng), rng.sample(NAMES, rng.randrange(2, 6)), rng.random() < 0.5
    injected, crash_at, crash_after = rng.sample(FAULTS, rng.randrange(3)), rng.randrange(7), rng.random() < 0.5

    async def scenario(folder: Path) -> None:
        iot = CrashingIot(FLEET, iot_page_size=1)
        iot.registry.patch(state)
        iot.service.set_faults(injected)
        expected = copy.deepcopy(iot.registry.to_dict())
        initial = copy.deepcopy(expected)
        allowed = allowed_devices(expected, listed)
        run = Scenario(iot, folder / "j", listed)
        DecommissionJournal.create(run.path, listed).close()

        await run.run(Stage.QUARANTINE, crash_at, crash_after)
        changed = {id_ for name in allowed for id_ in expected["things"][name]["principals"]}
        for id_ in changed:
            expected["certificates"][id_]["status"] = "INACTIVE"
        assert iot.registry.to_dict() == expected

        await run.run(Stage.DELETE if is_deleted else Stage.RELEASE, crash_at, crash_after)
        if is_deleted:
            registering = {
                id_ for id_ in changed if expected["certificates"][id_]["ca_id"] and "ENABLE" in state["cas"][CA]
            }
            deleted = {name for name in allowed if not registering & set(expected["things"][name]["principals"])}
            removed = {id_ for name in deleted for id_ in expected["things"].pop(name)["principals"]}
            kept = {id_ for thing in expected["things"].values() for id_ in thing["principals"]}
            for id_ in removed - kept:
                del expected["certificates"][id_]
            assert iot.registry.to_dict() == expected
        else:
            assert iot.registry.to_dict() == initial

    with tempfile.TemporaryDirectory() as folder:
        run_virtual(scenario(Path(folder)))
