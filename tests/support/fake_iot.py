"""AWS IoT in memory for tests of a decommission, with what moto does not do."""

# Detaching becomes visible late, DeleteThing of an attached thing fails with 400 and succeeds for a
# missing one [botocore, service model iot/2015-05-28; AWS IoT Core developer guide, Delete a thing].

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from asyncgg.cleanup.registry_client import RegistryCallError
from asyncgg.decommission.model import CertificateFacts


class CrashError(BaseException):
    """The process ends here."""


@dataclass(slots=True)
class FakeIot:
    """Things, certificates and what is attached; has the methods of `IotControlPlane`.

    `crash_at`: the number of the write at which the process ends, before it is applied, or after it
    with `crash_after`.
    """

    things: dict[str, str] = field(default_factory=dict)
    """Thing ids by name."""
    certificates: dict[str, CertificateFacts] = field(default_factory=dict)
    writes: list[tuple[str, ...]] = field(default_factory=list)
    """Every write that was applied."""
    crash_at: int = -1
    crash_after: bool = False
    late_looks: int = 2
    """Questions after a detach that still show it."""
    attached_late: dict[tuple[str, str], int] = field(default_factory=dict)
    changes: int = 0

    @classmethod
    def with_devices(cls, count: int) -> FakeIot:
        """Devices `d0`, ... with a certificate each; `d0` and `d1` also share one."""
        fake = cls()
        for number in range(count):
            fake.things[f"d{number}"] = f"id-{number}"
            fake._add(f"c{number}", (f"d{number}",))
        fake._add("both", ("d0", "d1"))
        return fake

    def _add(self, id_: str, things: tuple[str, ...]) -> None:
        self.certificates[id_] = CertificateFacts(
            id_, f"arn:aws:iot:r:1:cert/{id_}", "ACTIVE", "1", "PEM", "", 0.0, things, ("p",)
        )

    async def describe_thing(self, name: str) -> Mapping[str, Any] | None:
        """See `IotControlPlane.describe_thing`."""
        return {"thingName": name, "thingId": self.things[name], "version": 1} if name in self.things else None

    async def is_core_device(self, thing: str) -> bool:
        """See `IotControlPlane.is_core_device`."""
        return False

    async def list_groups(self, thing: str) -> list[str]:
        """See `IotControlPlane.list_groups`."""
        return []

    async def list_principals(self, thing: str) -> list[str]:
        """See `IotControlPlane.list_principals`."""
        return [facts.arn for facts in self.certificates.values() if self._is_attached(thing, facts, counts=True)]

    async def list_things(self, arn: str) -> list[str]:
        """See `IotControlPlane.list_things`."""
        facts = self._by_arn(arn)
        return [thing for thing in self.things if self._is_attached(thing, facts)]

    async def certificate_facts(self, arn: str) -> CertificateFacts:
        """See `IotControlPlane.certificate_facts`."""
        return self._by_arn(arn)

    async def describe_certificate(self, id_: str) -> Mapping[str, Any] | None:
        """See `IotControlPlane.describe_certificate`."""
        if id_ not in self.certificates:
            return None
        facts = self.certificates[id_]
        return {"status": facts.status, "lastModifiedDate": datetime.fromtimestamp(facts.modified_at, UTC)}

    async def list_policies(self, arn: str) -> list[str]:
        """See `IotControlPlane.list_policies`."""
        return list(self._by_arn(arn).policies)

    async def set_status(self, id_: str, status: str) -> str:
        """See `IotControlPlane.set_status`."""
        self._start("set_status", id_, status)
        self.changes += 1
        self.certificates[id_] = replace(self.certificates[id_], status=status, modified_at=float(self.changes))
        return self._end()

    async def detach(self, thing: str, arn: str) -> str:
        """See `IotControlPlane.detach`."""
        self._start("detach", thing, arn)
        facts = self._by_arn(arn)
        self.attached_late[thing, facts.id] = self.late_looks
        remaining = tuple(name for name in facts.things if name != thing)
        self.certificates[facts.id] = replace(facts, things=remaining)
        return self._end()

    async def delete_thing(self, name: str, version: int) -> str:
        """See `IotControlPlane.delete_thing`."""
        if await self.list_principals(name):
            raise RegistryCallError("still attached", "InvalidRequestException")
        self._start("delete_thing", self.things.get(name, "missing"))
        self.things.pop(name, None)
        return self._end()

    async def detach_policy(self, policy: str, arn: str) -> str:
        """See `IotControlPlane.detach_policy`."""
        self._start("detach_policy", policy, arn)
        facts = self._by_arn(arn)
        self.certificates[facts.id] = replace(facts, policies=())
        return self._end()

    async def delete_certificate(self, id_: str) -> str:
        """See `IotControlPlane.delete_certificate`."""
        facts = self.certificates[id_]
        assert facts.status == "INACTIVE"
        assert not facts.policies
        self._start("delete_certificate", id_)
        del self.certificates[id_]
        return self._end()

    def _is_attached(self, thing: str, facts: CertificateFacts, *, counts: bool = False) -> bool:
        if thing in facts.things:
            return True
        looks = self.attached_late.get((thing, facts.id), 0)
        if counts and looks:
            self.attached_late[thing, facts.id] = looks - 1
        return looks > 0

    def _by_arn(self, arn: str) -> CertificateFacts:
        return self.certificates[arn.rpartition("/")[2]]

    def _start(self, *write: str) -> None:
        if len(self.writes) == self.crash_at and not self.crash_after:
            raise CrashError
        self.writes.append(write)

    def _end(self) -> str:
        if len(self.writes) - 1 == self.crash_at and self.crash_after:
            raise CrashError
        return "request-id"
