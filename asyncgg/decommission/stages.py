"""Runs one stage over the devices of a journal: asks, refuses, and works on the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from asyncgg.aws_calls.for_each import for_each
from asyncgg.aws_calls.operation import AwsCallError
from asyncgg.decommission.collect import FactCollector
from asyncgg.decommission.control_plane import IotControlPlane
from asyncgg.decommission.delete import MAX_DEVICES_AT_ONCE, DeviceDeleter, devices_to_delete_at_once
from asyncgg.decommission.guards import GuardOptions, Refusal, refuse
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import CertificateFacts, DeviceFacts, DeviceStep, RefusalReason, Stage, StepState
from asyncgg.decommission.progress import StageProgress
from asyncgg.decommission.quarantine import UPDATE, CertificateSwitch, is_as_quarantined
from asyncgg.decommission.shadows import ShadowOptions, ShadowSaver
from asyncgg.decommission.steps import DeviceRefusedError, NotVisibleError, StepRecorder
from asyncgg.models import RunState

DEVICE: Final = "Device"
"""The step that ends the work of a stage on a device, but for its associations."""
ASSOCIATIONS: Final = "Associations"
"""The step that ends the disassociation of a device, or its association at a release."""
_CERTIFICATE_STATE: Final = "CertificateStateException"
"""Another program changes the certificates that this run changes [service model: HTTP 406]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLimits:
    """When a stage stops by itself."""

    canary: int = 0
    """Devices that must succeed before the others begin; 0: no canary."""
    abort_at: float | None = None
    """Percentage of failed devices."""
    abort_after: int = 100
    """Finished devices before `abort_at` applies."""


class StageRun:
    """One run of a stage. `stop` ends it after the devices that are started."""

    def __init__(
        self, journal: DecommissionJournal, stage: Stage, plane: IotControlPlane, limits: StageLimits | None = None
    ) -> None:
        self._journal, self._stage, self.plane = journal, stage, plane
        self._limits = limits or StageLimits()
        self._recorder = StepRecorder(journal, stage, plane)
        self._clock = asyncio.get_running_loop().time
        self._start("", 0)
        self.reason = ""
        """Why the stage stopped; empty while it did not."""
        self.state = ""
        """How it stopped, a value of `RunState`; empty while it did not."""

    def stop(self, reason: str, state: RunState = RunState.INTERRUPTED) -> None:
        """Begin no further device; the first reason counts."""
        self._recorder.is_stopped = True
        if not self.reason:
            self.reason, self.state = reason, state

    def progress(self) -> StageProgress:
        """The progress of the questions or the changes, whichever runs."""
        operations = self.plane.operations.values()
        return replace(
            self._progress,
            sent=sum(operation.sent for operation in operations),
            throttled=sum(operation.throttled for operation in operations),
            seconds=self._clock() - self._started_at,
            status=f"stopping ({self.reason})" if self.reason else "",
        )

    def _start(self, activity: str, total: int) -> None:
        """Begin a part with this number of devices."""
        self._progress, self._started_at = StageProgress(activity, total), self._clock()

    # --- questions ---

    async def collect(self, options: GuardOptions) -> None:
        """Ask for the facts of all devices that have none, then save who is refused."""

        async def save(facts: DeviceFacts, certificates: Mapping[str, CertificateFacts]) -> None:
            await self._journal.put_certificates(certificates)
            await self._journal.put_facts(facts)

        known = self._journal.devices()
        unknown = [name for name in self._journal.names() if name not in known]
        await self._collect("asked about", unknown, options, save)
        if not self._is_stopped():
            refusals = refuse(self._journal.devices(), self._journal.certificates(), options)
            await self._journal.put_refusals(self._stage, refusals)

    async def check_again(self, names: Sequence[str], options: GuardOptions, associated: Collection[str]) -> None:
        """Ask for the facts of quarantined devices again, and save only who is refused at `delete` now.

        `associated` are the things that are still associated with a core. Everything is asked again: a
        deletion cannot be undone, and by default the answers from before the quarantine are a day old.
        """
        await self._journal.clear_refusals(self._stage)
        before, devices = self._journal.devices(), {}
        certificates: dict[str, CertificateFacts] = {}

        async def save(facts: DeviceFacts, found: Mapping[str, CertificateFacts]) -> None:
            devices[facts.name] = facts
            certificates.update(found)

        # A device with a step of this stage is half deleted: its steps say how to go on.
        fresh = [name for name in names if not self._is_started(name, before[name])]
        await self._collect("checked again", fresh, options, save)
        if self._is_stopped():
            return
        started = frozenset(names) - frozenset(fresh)
        options = replace(options, allow_shared=options.allow_shared | self._shared_with(started, certificates))
        refusals = refuse(devices, certificates, options)
        for name in devices.keys() - refusals.keys():
            if refusal := self._refuse_changed(before[name], devices[name], certificates):
                refusals[name] = refusal
            elif name in associated:
                refusals[name] = Refusal(RefusalReason.ASSOCIATED)
        allowed = devices.keys() - refusals.keys()
        cas = {certificates[id_].ca_id for name in allowed for id_ in devices[name].certificates} - {""}
        registering = {ca for ca in sorted(cas) if await self._auto_registers(ca)}
        for name in allowed:
            for id_ in devices[name].certificates:
                if (ca := certificates[id_].ca_id) in registering:
                    refusals[name] = Refusal(RefusalReason.AUTO_REGISTRATION, f"{id_}: CA {ca}")
        await self._journal.put_refusals(self._stage, refusals)

    async def _collect(
        self,
        activity: str,
        names: Sequence[str],
        options: GuardOptions,
        save: Callable[[DeviceFacts, Mapping[str, CertificateFacts]], Awaitable[None]],
    ) -> None:
        collector = FactCollector(self.plane, with_connectivity=options.connected_within > 0)

        async def query(name: str) -> None:
            await save(*await collector.collect(name))
            self._progress.finished += 1

        self._start(activity, len(names))
        await for_each(names, query, MAX_DEVICES_AT_ONCE, self._is_stopped)

    def _refuse_changed(
        self, before: DeviceFacts, now: DeviceFacts, certificates: Mapping[str, CertificateFacts]
    ) -> Refusal | None:
        """Refuse a device that is not as the quarantine left it; None if it is."""
        if now.thing_id != before.thing_id:
            return Refusal(RefusalReason.RECREATED)
        if set(now.certificates) != set(before.certificates):
            return Refusal(RefusalReason.CHANGED, "it has other certificates")
        if (now.thing_type, now.attributes) != (before.thing_type, before.attributes):
            return Refusal(RefusalReason.CHANGED, "its type or attributes were changed")
        for certificate in map(certificates.__getitem__, now.certificates):
            written = self._recorder.step(certificate.id, UPDATE, Stage.QUARANTINE)
            if not is_as_quarantined(written, certificate.status, certificate.modified_at):
                detail = f"{certificate.id}: changed by others, now {certificate.status}"
                return Refusal(RefusalReason.CHANGED, detail)
        return None

    def _shared_with(self, started: frozenset[str], certificates: Mapping[str, CertificateFacts]) -> frozenset[str]:
        """Certificates whose other things are devices that this stage already deletes."""
        names = frozenset(self._journal.names())
        return frozenset(
            id_ for id_, facts in certificates.items() if started & set(facts.things) and set(facts.things) <= names
        )

    def _is_started(self, name: str, facts: DeviceFacts) -> bool:
        actions = ["DeleteThing", *(f"DetachThingPrincipal {id_}" for id_ in facts.certificates)]
        return any(self._recorder.step(name, action) is not None for action in actions)

    async def _auto_registers(self, ca: str) -> bool:
        try:
            return await self.plane.ca_auto_registers(ca)
        except AwsCallError:
            return True  # a question without an answer refuses

    # --- work ---

    async def switch(self, names: Sequence[str], allow_shared: Collection[str] = ()) -> None:
        """Deactivate the certificates of these devices, or activate them again at a release."""
        devices = self._journal.devices()
        switch = CertificateSwitch(self._recorder, self._journal.certificates(), names, allow_shared)
        activity = "released" if self._stage is Stage.RELEASE else "quarantined"
        await self._work(activity, names, lambda name: switch.switch_device(devices[name]))

    async def delete(
        self, names: Sequence[str], *, delete_certificates: bool, shadows: ShadowOptions | None = None
    ) -> None:
        """Delete these devices, and what the options add. `shadows`: None leaves shadows alone."""
        devices = self._journal.devices()
        saver = ShadowSaver(self._recorder, shadows) if shadows else None
        deleter = DeviceDeleter(
            self._recorder, self._journal.certificates(), delete_certificates=delete_certificates, shadows=saver
        )
        at_once = devices_to_delete_at_once(self.plane.rates["DescribeCertificate"])
        await self._work("deleted", names, lambda name: deleter.delete_device(devices[name]), at_once)

    async def _work(
        self,
        activity: str,
        names: Sequence[str],
        work: Callable[[str], Awaitable[None]],
        at_once: int = MAX_DEVICES_AT_ONCE,
    ) -> None:
        async def attempt(name: str) -> None:
            try:
                await work(name)
            except DeviceRefusedError as error:
                await self._journal.put_refusals(self._stage, {name: error.refusal})
                self._progress.refused += 1
            except NotVisibleError as error:
                await self._fail(name, "not-visible", str(error))
            except AwsCallError as error:
                await self._fail(name, error.code or "unknown", str(error))
            else:
                await self._recorder.finish(name, DEVICE)
            self._progress.finished += 1
            self._apply_abort_rule()

        pending = [name for name in names if not self._recorder.is_done(name, DEVICE)]
        self._start(activity, len(pending))
        canary = pending[: self._limits.canary]
        await for_each(canary, attempt, at_once, self._is_stopped)
        if canary and any(not self._recorder.is_done(name, DEVICE) for name in canary):
            self._abort("the canary did not succeed")
        await for_each(pending[len(canary) :], attempt, at_once, self._is_stopped)

    async def _fail(self, name: str, code: str, message: str) -> None:
        self._progress.failed += 1
        await self._journal.record(DeviceStep(self._stage, name, DEVICE, StepState.INTENT, code, message))
        if code == _CERTIFICATE_STATE:
            self._abort(f"another program changes certificates of this run: {message}")

    def _apply_abort_rule(self) -> None:
        limits, finished, failed = self._limits, self._progress.finished, self._progress.failed
        if limits.abort_at is None or finished < limits.abort_after:
            return
        if failed * 100 >= limits.abort_at * finished and failed:
            self._abort(f"{failed:,} of {finished:,} devices failed")

    def _abort(self, reason: str) -> None:
        self.stop(reason, RunState.ABORTED)

    def _is_stopped(self) -> bool:
        return self._recorder.is_stopped
