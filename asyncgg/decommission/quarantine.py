"""Deactivates the certificates of devices, and activates them again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from asyncgg.decommission.control_plane import DELETED
from asyncgg.decommission.model import CertificateFacts, DeviceFacts, DeviceStep, RefusalReason, Stage
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
        is_sent = self._steps.step(before.id, UPDATE) is not None
        is_applied = is_sent and await self._require_status(before.id, "ACTIVE", _INACTIVE) == _INACTIVE
        await self._set_status(before.id, _INACTIVE, is_applied=is_applied)

    async def _release(self, before: CertificateFacts) -> None:
        written = self._steps.step(before.id, UPDATE, Stage.QUARANTINE)
        if written is None:
            return  # never changed
        if set(await self._plane.list_things(before.arn)) != set(before.things):
            raise refused(RefusalReason.CHANGED, f"{before.id}: attached to other things")
        status, changed_at = await self._plane.certificate_state(before.id)
        is_applied = status == before.status
        if not is_applied and not is_as_quarantined(written, status, changed_at):
            raise refused(RefusalReason.CHANGED, f"{before.id}: {status}")
        if is_applied and written.is_done and self._steps.step(before.id, UPDATE) is None:
            raise refused(RefusalReason.CHANGED, f"{before.id}: {status}, but not by this decommission")
        await self._set_status(before.id, before.status, is_applied=is_applied)

    async def _set_status(self, id_: str, status: str, *, is_applied: bool) -> None:
        """Change the status, unless an earlier start of the stage did, and wait until AWS IoT shows it."""
        request_id = ""
        if not is_applied:
            request_id = await self._steps.send(id_, UPDATE, lambda: self._plane.set_status(id_, status))
        changed_at = 0.0

        async def is_visible() -> bool:
            nonlocal changed_at
            found, changed_at = await self._plane.certificate_state(id_)
            if found == DELETED:
                raise refused(RefusalReason.CHANGED, f"{id_}: {found}")
            return found == status

        await wait_until(is_visible)
        await self._steps.finish(id_, UPDATE, detail=repr(changed_at), request_id=request_id)

    async def _require_status(self, id_: str, *allowed: str) -> str:
        status, _ = await self._plane.certificate_state(id_)
        if status not in allowed:
            raise refused(RefusalReason.CHANGED, f"{id_}: {status}")
        return status


def is_as_quarantined(written: DeviceStep | None, status: str, changed_at: float) -> bool:
    """Whether a certificate is as the quarantine left it.

    `written` is the step that deactivated it, None if it was inactive before. Only a finished step
    knows the time of the change.
    """
    return status == _INACTIVE and (written is None or written.detail in ("", repr(changed_at)))


async def require_same_thing(steps: StepRecorder, facts: DeviceFacts) -> int:
    """The version of the thing. Raises `DeviceRefusedError` if it is gone or another thing has its name."""
    thing = await steps.plane.describe_thing(facts.name)
    if thing is None:
        raise refused(RefusalReason.NOT_FOUND)
    if thing["thingId"] != facts.thing_id:
        raise refused(RefusalReason.RECREATED)
    return int(thing.get("version") or 0)
