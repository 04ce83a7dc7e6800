"""Deletes quarantined devices: detaches, waits, deletes the thing, and on request its certificates."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Final

from asyncgg.aws_calls.operation import AwsCallError
from asyncgg.decommission.control_plane import certificate_id, is_certificate
from asyncgg.decommission.model import CertificateFacts, DeviceFacts, RefusalReason, Stage
from asyncgg.decommission.quarantine import UPDATE, is_as_quarantined, require_same_thing
from asyncgg.decommission.shadows import ShadowSaver
from asyncgg.decommission.steps import StepRecorder, refused, wait_until

MAX_DEVICES_AT_ONCE: Final = 64
"""Devices that are worked on at the same time, more at a deletion: few are half-done after a stop, which comes soon."""
DELETE_THING: Final = "DeleteThing"
DELETE_CERTIFICATE: Final = "DeleteCertificate"
_FIRST_LOOK: Final = 5.0
"""Seconds until the first question whether a detached certificate is gone: each costs quota [the CI of the AWS
IoT Device SDKs waits 2 to 10 s]."""
_TYPICAL_WAIT: Final = 12.0
"""Seconds that a device waits for AWS IoT to see that it is detached, with some reserve."""
_MOST_AT_ONCE: Final = 1_000
_INVALID: Final = "InvalidRequestException"
_CONFLICT: Final = "DeleteConflictException"


def devices_to_delete_at_once(certificate_rate: float) -> int:
    """How many devices wait at the same time, so that `certificate_rate` calls per second are used meanwhile."""
    return min(_MOST_AT_ONCE, max(MAX_DEVICES_AT_ONCE, math.ceil(_TYPICAL_WAIT * certificate_rate)))


class DeviceDeleter:
    """Deletes things, and certificates that have no thing left if `delete_certificates`."""

    def __init__(
        self,
        steps: StepRecorder,
        certificates: Mapping[str, CertificateFacts],
        *,
        delete_certificates: bool,
        shadows: ShadowSaver | None = None,
    ) -> None:
        self._steps, self._plane = steps, steps.plane
        self._certificates = certificates
        self._delete_certificates, self._shadows = delete_certificates, shadows
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def delete_device(self, facts: DeviceFacts) -> None:
        """Delete one device.

        Raises `DeviceRefusedError` if the thing or a certificate is not as the quarantine left it,
        `AwsCallError`, and `NotVisibleError`.
        """
        if not self._steps.is_done(facts.name, DELETE_THING):
            await self._delete_thing(facts)
        if self._delete_certificates:
            for id_ in facts.certificates:
                async with self._locks[id_]:
                    await self._delete_certificate(self._certificates[id_])

    async def _delete_thing(self, facts: DeviceFacts) -> None:
        thing = await self._plane.describe_thing(facts.name)
        if thing is None:
            if self._steps.step(facts.name, DELETE_THING) is None:
                raise refused(RefusalReason.NOT_FOUND)
            await self._steps.finish(facts.name, DELETE_THING)  # the intent was applied
            return
        await require_same_thing(self._steps, facts)
        attached = await self._attached(facts)
        for id_ in sorted(attached):
            await self._require_quarantined(self._certificates[id_])
        if self._shadows is not None:
            await self._shadows.process(facts)
        await self._detach(facts, attached)
        request_id = await self._send_delete(facts)

        async def is_missing() -> bool:
            found = await self._plane.describe_thing(facts.name)
            if found is not None and found["thingId"] != facts.thing_id:
                raise refused(RefusalReason.RECREATED)
            return found is None

        await wait_until(is_missing)
        await self._steps.finish(facts.name, DELETE_THING, request_id=request_id)

    async def _detach(self, facts: DeviceFacts, attached: Collection[str]) -> None:
        for id_ in sorted(attached):
            action = f"DetachThingPrincipal {id_}"
            if not self._steps.is_done(facts.name, action):
                arn = self._certificates[id_].arn
                await self._steps.send(facts.name, action, lambda arn=arn: self._plane.detach(facts.name, arn))  # type: ignore[misc]  # mypy infers no defaults
        if attached:
            await wait_until(lambda: self._is_detached(facts), _FIRST_LOOK)
        for id_ in facts.certificates:
            action = f"DetachThingPrincipal {id_}"
            if self._steps.step(facts.name, action) is not None and not self._steps.is_done(facts.name, action):
                await self._steps.finish(facts.name, action)

    async def _attached(self, facts: DeviceFacts) -> set[str]:
        principals = await self._plane.list_principals(facts.name)
        unknown = [
            arn for arn in principals if not is_certificate(arn) or certificate_id(arn) not in facts.certificates
        ]
        if unknown:
            raise refused(RefusalReason.CHANGED, f"a new principal: {unknown[0]}")
        return {certificate_id(arn) for arn in principals}

    async def _is_detached(self, facts: DeviceFacts) -> bool:
        return not await self._attached(facts)

    async def _send_delete(self, facts: DeviceFacts) -> str:
        """Send DeleteThing; while AWS IoT still sees a principal, wait and send again.

        A request without a response is not repeated before the thing was read again. Its principals are
        listed again from the second refusal on: lists have a small quota, and a thing that has a new
        principal cannot be deleted.
        """
        request_id, is_lost, refusals = "", False, 0

        async def is_accepted() -> bool:
            nonlocal request_id, is_lost, refusals
            if is_lost and await self._plane.describe_thing(facts.name) is None:
                return True
            version = await require_same_thing(self._steps, facts)
            try:
                request_id = await self._steps.send(
                    facts.name, DELETE_THING, lambda: self._plane.delete_thing(facts.name, version)
                )
            except AwsCallError as error:
                is_lost = error.possibly_applied
                refusals += error.code == _INVALID
                if is_lost or (error.code == _INVALID and (refusals == 1 or not await self._attached(facts))):
                    return False
                raise
            return True

        await wait_until(is_accepted)
        return request_id

    async def _require_quarantined(self, before: CertificateFacts) -> None:
        """Raise `DeviceRefusedError` unless a certificate is as the quarantine left it."""
        written = self._steps.step(before.id, UPDATE, Stage.QUARANTINE)
        status, changed_at = await self._plane.certificate_state(before.id)
        if not is_as_quarantined(written, status, changed_at):
            raise refused(RefusalReason.CHANGED, f"{before.id}: {status}")

    async def _delete_certificate(self, before: CertificateFacts) -> None:
        if self._steps.is_done(before.id, DELETE_CERTIFICATE):
            return
        if await self._plane.describe_certificate(before.id) is None:
            if self._steps.step(before.id, DELETE_CERTIFICATE) is None:
                raise refused(RefusalReason.CHANGED, f"{before.id}: deleted")
            await self._steps.finish(before.id, DELETE_CERTIFICATE)
            return
        if await self._plane.list_things(before.arn):
            return  # the last of its devices deletes it
        await self._require_quarantined(before)
        for policy in await self._plane.list_policies(before.arn):
            if policy not in before.policies:
                raise refused(RefusalReason.CHANGED, f"{before.id}: a new policy, {policy}")
            action = f"DetachPolicy {policy}"
            await self._steps.apply(
                before.id,
                action,
                lambda policy=policy: self._plane.detach_policy(policy, before.arn),  # type: ignore[misc]  # mypy infers no defaults
            )

        async def is_deleted() -> bool:
            try:
                await self._steps.send(before.id, DELETE_CERTIFICATE, lambda: self._plane.delete_certificate(before.id))
            except AwsCallError as error:
                if error.code != _CONFLICT:
                    raise
                return False
            return True

        await wait_until(is_deleted)

        async def is_missing() -> bool:
            return await self._plane.describe_certificate(before.id) is None

        await wait_until(is_missing)
        await self._steps.finish(before.id, DELETE_CERTIFICATE)
