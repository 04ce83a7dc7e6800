"""Deactivates the certificates of devices, and activates them again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from asyncgg.decommission.control_plane import modified_at
from asyncgg.decommission.model import CertificateFacts, DeviceFacts, RefusalReason, Stage, StepState
from asyncgg.decommission.shared_tasks import SharedTasks
from asyncgg.decommission.steps import StepRecorder, refused, wait_until

UPDATE: Final = "UpdateCertificate"
_INACTIVE: Final = "INACTIVE"


class CertificateSwitch:
    """Changes the status of each certificate of the allowed devices once.

    `certificates` are as they were before the decommission; `allow_shared` are ids of certificates
    that other things may use, too.
    """

    def __init__(
        self,
        steps: StepRecorder,
        certificates: Mapping[str, CertificateFacts],
        allowed: Collection[str],
        allow_shared: Collection[str] = (),
    ) -> None:
        self._steps, self._plane = steps, steps.plane
        self._certificates, self._allowed, self._allow_shared = certificates, frozenset(allowed), allow_shared
        self._changes: SharedTasks[None] = SharedTasks()

    async def switch_device(self, facts: DeviceFacts) -> None:
        """Deactivate all certificates of a device, or activate them again in the stage `release`.

        Raises `DeviceRefusedError` if the thing or a certificate is not as before, `AwsCallError`,
        and `NotVisibleError`.
        """
        switch = self._release if self._steps.stage == Stage.RELEASE else self._deactivate
        pending = [id_ for id_ in facts.certificates if not self._steps.is_done(id_, UPDATE)]
        if pending:
            await require_same_thing(self._steps, facts)
        for id_ in pending:
            await self._changes.get(id_, lambda id_=id_: switch(self._certificates[id_]))  # type: ignore[misc]  # mypy infers no defaults

    async def _deactivate(self, before: CertificateFacts) -> None:
        things = set(await self._plane.list_things(before.arn))
        if before.id not in self._allow_shared and (others := sorted(things - self._allowed)):
            raise refused(RefusalReason.SHARED, f"{before.id}: {', '.join(others[:3])}")
        if before.status == _INACTIVE:
            await self._require_status(before.id, _INACTIVE)
            return
        request_id = ""
        intent = self._steps.step(before.id, UPDATE)
        if intent is None or await self._require_status(before.id, "ACTIVE", _INACTIVE) != _INACTIVE:
            request_id = (
                await self._steps.send(before.id, UPDATE, lambda: self._plane.set_status(before.id, _INACTIVE))
            ).request_id
        await self._confirm(before.id, _INACTIVE, request_id)

    async def _release(self, before: CertificateFacts) -> None:
        written = self._steps.step(before.id, UPDATE, Stage.QUARANTINE)
        if written is None:
            return  # never changed
        if set(await self._plane.list_things(before.arn)) != set(before.things):
            raise refused(RefusalReason.CHANGED, f"{before.id}: attached to other things")
        description = await self._plane.describe_certificate(before.id)
        status = description["status"] if description else "deleted"
        request_id = ""
        if status != before.status:
            if status != _INACTIVE or (
                written.detail and description and written.detail != repr(modified_at(description))
            ):
                raise refused(RefusalReason.CHANGED, f"{before.id}: {status}")
            request_id = (
                await self._steps.send(before.id, UPDATE, lambda: self._plane.set_status(before.id, before.status))
            ).request_id
        elif written.state is StepState.DONE and self._steps.step(before.id, UPDATE) is None:
            raise refused(RefusalReason.CHANGED, f"{before.id}: {status}, but not by this decommission")
        await self._confirm(before.id, before.status, request_id)

    async def _confirm(self, id_: str, status: str, request_id: str) -> None:
        changed_at = 0.0

        async def is_visible() -> bool:
            nonlocal changed_at
            description = await self._plane.describe_certificate(id_)
            if description is None:
                raise refused(RefusalReason.CHANGED, f"{id_}: deleted")
            changed_at = modified_at(description)
            return bool(description["status"] == status)

        await wait_until(is_visible)
        await self._steps.finish(id_, UPDATE, detail=repr(changed_at), request_id=request_id)

    async def _require_status(self, id_: str, *allowed: str) -> str:
        description = await self._plane.describe_certificate(id_)
        status = str(description["status"]) if description else "deleted"
        if status not in allowed:
            raise refused(RefusalReason.CHANGED, f"{id_}: {status}")
        return status


async def require_same_thing(steps: StepRecorder, facts: DeviceFacts) -> int:
    """The version of the thing. Raises `DeviceRefusedError` if it is gone or another thing has its name."""
    thing = await steps.plane.describe_thing(facts.name)
    if thing is None:
        raise refused(RefusalReason.NOT_FOUND)
    if thing["thingId"] != facts.thing_id:
        raise refused(RefusalReason.RECREATED)
    return int(thing.get("version") or 0)
