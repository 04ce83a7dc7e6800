"""Kill `asyncgg decommission` with SIGKILL before and after every write, and resume it each time.

`python -m benchmarks.decommission_kills` (about ten minutes on two cores). The simulated AWS IoT and
Greengrass run in this process: when the program's request for a write arrives, they kill the program
before they apply it, or after it and before they answer. One fleet is quarantined and released, the
other quarantined and deleted. Exit code 1 if a device was lost, another one changed, or a write was
repeated that the journal had recorded.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import StepState
from asyncgg.journal import JournalReader
from asyncgg.models import ThingState
from asyncgg.simulator import FleetSpec, Request, Response, Simulator, SimulatorConfig
from asyncgg.simulator.iot_call import route_iot
from asyncgg.simulator.registry import certificate_id_of
from benchmarks.processes import ENVIRONMENT
from benchmarks.tables import write_results

DEVICES: Final = 24
_REFUSED: Final = 5
_CORES: Final = 3
_PAGE_SIZE: Final = 250
_ACCOUNT: Final = "123456789012"
_WRITES: Final = ("UpdateCertificate", "DetachThingPrincipal", "DeleteThing", "DetachPolicy", "DeleteCertificate")
_FAST: Final = [f"--iot-quota={name}=2000" for name in (*_WRITES, "ListThingPrincipals", "ListPrincipalThings")]
_OPTIONS: Final = ["--yes", "--json", "--quiet", "--quota", "1000", *_FAST, "--iot-quota=DescribeCertificate=2000"]

Write = tuple[str, ...]
"""Operation, then what it changes."""


@dataclass
class KillResult:
    """The result of one or more scenarios."""

    kills: int = 0
    writes: int = 0
    """Different writes; each was killed before and after."""
    lost: int = 0
    """Devices that are not in the state of the last stage."""
    others_changed: int = 0
    """Devices and certificates that changed although they are not in the list or were refused."""
    repeated: int = 0
    """Writes that were sent although the journal had recorded them."""
    seconds: float = 0.0

    def __add__(self, other: KillResult) -> KillResult:
        return KillResult(*(getattr(self, name) + getattr(other, name) for name in asdict(self)))


@dataclass
class KillScenario:
    """One journal, its services, and the process that works on it.

    The last five of `devices` in the list are refused, and so is a core device; as many devices are
    not in the list.
    """

    folder: Path
    last_stage: str
    devices: int = DEVICES
    every: int = 1
    """Kill at each n-th opportunity only."""
    resumes: bool = True
    """Whether the quarantine is resumed; else the last stage follows its first kill."""
    result: KillResult = field(default_factory=KillResult)
    pid: int = 0
    killed: bool = False
    stage: str = "quarantine"
    covered: set[tuple[str, Write, str]] = field(default_factory=set)
    recorded: set[Write] = field(default_factory=set)
    """Writes of this stage with an outcome in the journal."""
    _opportunities: int = 0

    async def run(self) -> KillResult:
        """Run both stages to their end and compare the services with the state from before."""
        started = time.monotonic()
        config = SimulatorConfig(
            rate=float("inf"), burst=1000.0, latency_ms=2.0, iot_quota=("*=2000",), detach_delay=1.0
        )
        async with Simulator(config, fleet_spec=self._fleet()) as self.simulator:
            self._handle = self.simulator.service.handle
            self.simulator.service.handle = self.handle  # type: ignore[method-assign]  # kills the client
            self.registry = self.simulator.service.registry
            self.registry.patch(self._mix())
            (self.folder / "things.txt").write_text("".join(f"{name}\n" for name in [*self._listed(), "core-0"]))
            before, associations = copy.deepcopy(self.registry.to_dict()), self._associations()
            await self._finish("quarantine", "--things", "things.txt", "--journal", "J")
            if self.resumes:
                self._compare(before, associations)
            delete = ["--min-age", "0", "--delete-certificates", "--expect-account", _ACCOUNT]
            await self._finish(self.last_stage, "J", *(delete if self.last_stage == "delete" else []))
            self._compare(before, associations)
        self.result.writes = len({(stage, write) for stage, write, _ in self.covered})
        self.result.seconds = time.monotonic() - started
        return self.result

    async def _finish(self, stage: str, *arguments: str) -> None:
        """Start a stage, and resume it after each kill."""
        self.stage, self.recorded = stage, set()
        command: tuple[str, ...] = (stage, *arguments)
        while await self._run_until_killed(*command):
            self.result.kills += 1
            if stage == "quarantine" and not self.resumes:
                return
            self._read_journals()
            command = ("resume", "J")

    async def _run_until_killed(self, *arguments: str) -> bool:
        self.killed = False
        command = ["decommission", *arguments, *_OPTIONS]
        code, out, err = await self.execute(command, {**ENVIRONMENT, "AWS_ENDPOINT_URL": self.simulator.url})
        if code == -signal.SIGKILL:
            return True
        if code not in (0, 3) or json.loads(out)["devices"]["pending"]:
            raise RuntimeError(f"{arguments}: exit {code}\n{out}\n{err}")
        return False

    async def execute(self, command: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str, str]:
        """Run `asyncgg` with its process id in `pid`; the exit code, standard output and error."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "asyncgg", *command),
            cwd=self.folder,
            env={**os.environ, **variables, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self.pid = process.pid
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    # --- in the services ---

    def handle(self, request: Request, now: float) -> Response:
        """Answer a request; the first time that a write arrives, kill the process before or after it."""
        if self.killed:
            return Response(500, b"")  # the process does not exist any more
        writes = self._writes_of(request, now)
        self.result.repeated += len(self.recorded & set(writes))
        if self._cover(writes, "before"):
            self._kill()
            return Response(500, b"")
        response = self._handle(request, now)
        if self._cover(writes, "after"):
            self._kill()
        return response

    def _writes_of(self, request: Request, now: float) -> list[Write]:
        call = route_iot(request, now, _PAGE_SIZE)
        if call is not None:
            return [(call.operation.name, *call.subject.split())] if call.operation.name in _WRITES else []
        if not request.path.endswith("associateClientDevices"):
            return []
        *_, core, action = request.path.split("/")
        return [(action, core, entry["thingName"]) for entry in json.loads(request.body)["entries"]]

    def _cover(self, writes: list[Write], when: str) -> bool:
        """Whether one of the writes of a request was not killed at this moment before."""
        keys = {(self.stage, write, when) for write in writes}
        is_new = not keys <= self.covered
        self.covered |= keys
        self._opportunities += is_new
        return is_new and self._opportunities % self.every == 0

    def _kill(self) -> None:
        self.killed = True
        os.kill(self.pid, signal.SIGKILL)

    def _read_journals(self) -> None:
        with DecommissionJournal(self.folder / "J", read_only=True) as journal:
            steps = [step for step in journal.steps().values() if step.stage == self.stage]
        for step in steps:
            if step.state is StepState.DONE:
                operation, *names = step.action.split()
                subject = [*names, step.subject] if operation == "DetachPolicy" else [step.subject, *names]
                self.recorded.add((operation, *subject))
        for path in self.folder.glob(f"J.{self.stage}-[0-9]"):
            action = "associateClientDevices" if self.stage == "release" else "disassociateClientDevices"
            with JournalReader(path) as reader:
                for row in reader.outcomes(ThingState.DISASSOCIATED):
                    self.recorded.add((action, row.core, row.thing))

    # --- the fleet ---

    def _listed(self) -> list[str]:
        return [f"listed-{number:02}" for number in range(self.devices)]

    def _fleet(self) -> FleetSpec:
        names = [*self._listed(), *(f"other-{number:02}" for number in range(self.devices))]
        return FleetSpec.from_things({f"core-{number}": names[number::_CORES] for number in range(_CORES)})

    def _mix(self) -> dict[str, Any]:
        """Certificates that are shared within the list or inactive, and devices that the guards refuse."""
        shared, foreign, transferred, protected, claim = self._listed()[-_REFUSED:]
        own = {name: certificate_id_of(name) for name in [*self._listed(), "other-00"]}
        return {
            "things": {
                "listed-00": {"principals": [own["listed-00"], own["listed-01"]]},
                shared: {"principals": [own[shared], own["other-00"]]},
                protected: {"attributes": {"decommission": "never"}},
            },
            "certificates": {
                own[foreign]: {"owner": "999999999999"},
                own[transferred]: {"status": "PENDING_TRANSFER"},
                own[claim]: {"policies": ["claim"]},
                own["listed-02"]: {"status": "INACTIVE"},
            },
            "policies": {"claim": {"Resource": "arn:aws:iot:*:*:topic/$aws/provisioning-templates/t/provision/*"}},
        }

    # --- checks ---

    def _associations(self) -> dict[str, list[str]]:
        return {core: sorted(things) for core, things in self.simulator.service.fleet.things.items()}

    def _compare(self, before: Mapping[str, Any], associations: Mapping[str, list[str]]) -> None:
        """Count the differences from what the stage must have made of the state from before."""
        expected = copy.deepcopy(dict(before))
        targets = set(self._listed()[:-_REFUSED])
        certificates = {id_ for name in targets for id_ in expected["things"][name]["principals"]}
        if self.stage == "delete":
            for name in targets:
                del expected["things"][name]
            for id_ in certificates:
                del expected["certificates"][id_]
        elif self.stage == "quarantine":
            for id_ in certificates:
                expected["certificates"][id_]["status"] = "INACTIVE"
        actual = self.registry.to_dict()
        wrong = {
            name
            for kind in ("things", "certificates")
            for name in expected[kind].keys() | actual[kind].keys()
            if expected[kind].get(name) != actual[kind].get(name)
        }
        now = self._associations()
        for core, things in associations.items():
            wrong |= (set(things) - (set() if self.stage == "release" else targets)) ^ set(now[core])
        self.result.lost += len(wrong & (targets | certificates))
        self.result.others_changed += len(wrong - targets - certificates)
        self.result.others_changed += actual["policies"] != before["policies"]


async def _run_all() -> KillResult:
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        scenarios = KillScenario(Path(first), "release"), KillScenario(Path(second), "delete")
        released, deleted = await asyncio.gather(*(scenario.run() for scenario in scenarios))
    return released + deleted


def main() -> None:
    """Run both scenarios side by side; exit code 1 if a result is wrong."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    started = time.monotonic()
    result = asyncio.run(_run_all())
    result.seconds = round(time.monotonic() - started, 1)
    for name, value in asdict(result).items():
        print(f"{name.replace('_', ' '):15} {value}")
    write_results("decommission_kills", devices=DEVICES, **asdict(result))
    if result.lost or result.others_changed or result.repeated:
        sys.exit("a device was lost or changed wrongly, or a recorded write was repeated")


if __name__ == "__main__":
    main()
