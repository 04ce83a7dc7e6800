"""Quarantine and delete devices at the documented quotas of AWS IoT, on virtual time."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from asyncgg.decommission.control_plane import IotControlPlane
from asyncgg.decommission.guards import GuardOptions
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import Stage
from asyncgg.decommission.quotas import DEFAULT_QUOTAS
from asyncgg.decommission.stages import StageRun
from asyncgg.service_limiters import QuotaBucket
from asyncgg.testing.clock import run_virtual

_DEVICES: Final = 2_000
_QUICK_DEVICES: Final = 100
_LATENCY: Final = 0.08
"""Seconds per request."""
_CORE_DEVICE_RATE: Final = 30.0
_DETACH_DELAY: Final = 3.0
"""Seconds until a detached certificate is not listed any more."""
_ALL_QUOTAS: Final = {**DEFAULT_QUOTAS, "GetCoreDevice": _CORE_DEVICE_RATE}


class _ThrottlingIot:
    """The client methods that a decommission calls; each operation has a bucket of one second of its quota."""

    def __init__(self, devices: int) -> None:
        self.requests: Counter[str] = Counter()
        self.throttled = 0
        self._status = {f"c{number}": "ACTIVE" for number in range(devices)}
        self._things = {f"d{number}" for number in range(devices)}
        self._detached: dict[str, float] = {}
        self._buckets = {name: QuotaBucket(rate, rate) for name, rate in _ALL_QUOTAS.items()}

    async def _count(self, name: str) -> None:
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(_LATENCY)
        self.requests[name] += 1
        if not self._buckets[name].try_acquire(now):
            self.throttled += 1
            raise _error("ThrottlingException", name)

    async def describe_thing(self, *, thingName: str) -> dict[str, Any]:  # noqa: N803 - botocore's name
        await self._count("DescribeThing")
        if thingName not in self._things:
            raise _error("ResourceNotFoundException", "DescribeThing", 404)
        return {"thingName": thingName, "thingId": thingName, "version": 1}

    async def get_core_device(self, **_: Any) -> dict[str, Any]:
        await self._count("GetCoreDevice")
        raise _error("ResourceNotFoundException", "GetCoreDevice", 404)

    async def list_thing_principals(self, *, thingName: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - as above
        await self._count("ListThingPrincipals")
        detached_at = self._detached.get(thingName)
        late = detached_at is None or asyncio.get_running_loop().time() < detached_at + _DETACH_DELAY
        return {"principals": [f"arn:aws:iot:r:1:cert/c{thingName[1:]}"] if late else []}

    async def list_thing_groups_for_thing(self, **_: Any) -> dict[str, Any]:
        await self._count("ListThingGroupsForThing")
        return {"thingGroups": []}

    async def list_principal_things(self, *, principal: str, **_: Any) -> dict[str, Any]:
        await self._count("ListPrincipalThings")
        return {"things": [f"d{principal.rpartition('/c')[2]}"]}

    async def describe_certificate(self, *, certificateId: str) -> dict[str, Any]:  # noqa: N803 - as above
        await self._count("DescribeCertificate")
        status = self._status[certificateId]
        return {
            "certificateDescription": {
                "certificateId": certificateId,
                "status": status,
                "ownedBy": "1",
                "lastModifiedDate": datetime.fromtimestamp(float(status == "INACTIVE"), UTC),
            }
        }

    async def list_attached_policies(self, **_: Any) -> dict[str, Any]:
        await self._count("ListAttachedPolicies")
        return {"policies": []}

    async def update_certificate(self, *, certificateId: str, newStatus: str) -> dict[str, Any]:  # noqa: N803 - as above
        await self._count("UpdateCertificate")
        self._status[certificateId] = newStatus
        return {}

    async def detach_thing_principal(self, *, thingName: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - as above
        await self._count("DetachThingPrincipal")
        self._detached[thingName] = asyncio.get_running_loop().time()
        return {}

    async def delete_thing(self, *, thingName: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - as above
        await self._count("DeleteThing")
        self._things.discard(thingName)
        return {}


def _error(code: str, operation: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}},
        operation,
    )


def run(quick: bool, _: int | None = None) -> None:
    """Print time, minimum and throttled requests of each stage."""
    with tempfile.TemporaryDirectory() as folder:
        run_virtual(_measure(_QUICK_DEVICES if quick else _DEVICES, Path(folder) / "journal"))


async def _measure(devices: int, path: Path) -> None:
    client, options = _ThrottlingIot(devices), GuardOptions(account="1", connected_within=0.0)
    plane = IotControlPlane(client, client, DEFAULT_QUOTAS, core_device_rate=_CORE_DEVICE_RATE)
    names = [f"d{number}" for number in range(devices)]
    with DecommissionJournal.create(path, names) as journal:
        quarantine = StageRun(journal, Stage.QUARANTINE, plane)
        await _time("questions", client, lambda: quarantine.collect(options))
        await _time("quarantine", client, lambda: quarantine.switch(names))
        deletion = StageRun(journal, Stage.DELETE, plane)
        await _time("questions again", client, lambda: deletion.check_again(names, options, ()))
        await _time("delete", client, lambda: deletion.delete(names, delete_certificates=False))


async def _time(label: str, client: _ThrottlingIot, work: Callable[[], Awaitable[None]]) -> None:
    client.requests.clear()
    clock = asyncio.get_running_loop().time
    started, throttled = clock(), client.throttled
    await work()
    seconds = clock() - started
    minimum = max(count / _ALL_QUOTAS[name] for name, count in client.requests.items())
    slowest = max(client.requests, key=lambda name: client.requests[name] / _ALL_QUOTAS[name])
    print(
        f"{label:<16} {seconds:8.1f} s, {seconds / minimum:.3f} of {slowest} at its quota,"
        f" {client.throttled - throttled} throttled"
    )
