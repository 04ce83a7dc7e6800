"""Rule: the service lives here: a request and the time go in, an answer comes out. No socket, no clock, no loop.

What comes first when several things are wrong is not documented; here: the signature, the token's age, the quota,
the form of the request, faults, the core, the entries. What is unsigned or unknown costs no quota.
"""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from asyncgg.simulator.auth import Signed, check_date, check_signature, read_signature
from asyncgg.simulator.config import SimulatorConfig
from asyncgg.simulator.counters import Counters, Row
from asyncgg.simulator.faults import Faults
from asyncgg.simulator.faultspec import Effect, Fault, parse_faults
from asyncgg.simulator.fleet import Fleet, FleetPlan
from asyncgg.simulator.generate import plan_fleet
from asyncgg.simulator.listing import list_cores, list_devices
from asyncgg.simulator.quota import Quota
from asyncgg.simulator.sts import identity_answer, is_identity_request, sts_error
from asyncgg.simulator.validation import check_core, read_entries
from asyncgg.simulator.wire import Answer, Call, Fate, Operation, RefusalError, Request, json_answer, route

__all__ = ["QUOTA_CODE", "Service"]

QUOTA_CODE: Final = "L-7A577824"
"""Of the request rate, probably; told in ThrottlingException."""

_FATES: Final = {Effect.RESET: Fate.RESET, Effect.HANG: Fate.HANG, Effect.HALF: Fate.HALF}
_GARBAGE: Final = b"<html><body>This is not the answer you are looking for.</body></html>"


class Service:
    """A simulated Greengrass V2 (and STS GetCallerIdentity) of one account and Region."""

    def __init__(self, config: SimulatorConfig | None = None, *, plan: FleetPlan | None = None, now: float = 0.0):
        """The fleet is `plan`, or generated as `config` says; `now` is in seconds since 1970, as in every call."""
        self.config = config or SimulatorConfig()
        self.plan = plan or _plan(self.config, now)
        self.on_row: Callable[[Row], None] | None = None
        """Called with each row of the log as it is written."""
        self.reset(now)

    def reset(self, now: float) -> None:
        """Everything as at the start: fleet, quota, faults, dice, counters."""
        self.fleet = Fleet(self.plan)
        self.counters = Counters()
        self.quota = Quota(self.config.rate, self.config.burst, now)
        self._dice = random.Random(f"service {self.config.seed}")
        self.set_faults(self.config.fault)

    def set_faults(self, specs: Iterable[str]) -> None:
        """Replace all faults; their counts begin anew. Raises UsageError naming the spec that is wrong."""
        faults = parse_faults(specs)
        self.faults = Faults(faults, random.Random(f"faults {self.config.seed}"))

    def handle(self, request: Request, now: float) -> Answer:
        """The answer to one request that arrives at `now`; all changes are made at once, whatever its delay."""
        request_id = str(uuid.UUID(int=self._dice.getrandbits(128), version=4))
        to_sts = request.path in ("/", "")
        answer = self._identify(request, now, request_id) if to_sts else self._serve(request, now)
        delay = answer.delay + self.config.latency_ms / 1000
        if self.config.jitter_ms:
            delay += self._dice.expovariate(1000 / self.config.jitter_ms)
        return replace(answer, delay=delay, headers={**answer.headers, "x-amzn-RequestId": request_id})

    def _serve(self, request: Request, now: float) -> Answer:
        call = route(request.method, request.path)
        if call is None:
            self.counters.requests["unknown"] += 1
            return RefusalError(404, "UnknownOperationException", "There is no such operation.").answer()

        return self._counted(call, request, now)

    def _counted(self, call: Call, request: Request, now: float) -> Answer:
        """Answer, and write the request into counters and log."""
        code = ""
        try:
            signed = self._authenticate(request, now, "greengrass")
            answer = self._admit(call, request, signed.access_key, now)
        except RefusalError as refusal:
            code = refusal.code
            answer = refusal.answer(self._retry_after(now) if code == "ThrottlingException" else None)
        entries = request.body.count(b'"thingName"')
        row = Row(now, call.operation.value, call.core, entries, answer.status, answer.fate.value, code)
        counters = self.counters
        counters.requests[row.operation] += 1
        counters.statuses[row.status] += 1
        if code:
            counters.codes[code] += 1
            counters.throttled += code == "ThrottlingException"
        counters.log.append(row)
        if self.on_row:
            self.on_row(row)
        return replace(answer, core=call.core)

    def _admit(self, call: Call, request: Request, access_key: str, now: float) -> Answer:
        expired = self.faults.strike_credentials(access_key)
        if expired:
            raise _refusal(expired, call.core)
        if not self.quota.take(now):
            raise _throttled()
        self.counters.admitted += 1
        if call.operation is not Operation.LIST_CORES:
            check_core(call.core)
        batch = call.operation in (Operation.DISASSOCIATE, Operation.ASSOCIATE)
        things = read_entries(request.body) if batch else []
        if call.operation is Operation.DISASSOCIATE:
            self.counters.carry(call.core, things)
        strike = self.faults.strike(call.core, things)
        try:
            answer = self._strike(strike.fault, call, request, things, now)
        except RefusalError as refusal:
            refusal.delay = strike.slow
            raise
        return replace(answer, delay=strike.slow)

    def _strike(self, fault: Fault | None, call: Call, request: Request, things: list[str], now: float) -> Answer:
        if fault is None:
            return self._perform(call, request, things, now)
        answer = self._perform(call, request, things, now) if fault.kind.applied else json_answer({})
        effect = fault.kind.effect
        if effect is Effect.ERROR:
            raise _refusal(fault, call.core)
        if effect is Effect.GARBAGE:
            return replace(answer, body=_GARBAGE)
        return replace(answer, fate=_FATES[effect])

    def _perform(self, call: Call, request: Request, things: list[str], now: float) -> Answer:
        if call.operation is Operation.LIST_CORES:
            return json_answer(list_cores(self.fleet, request.parameters))
        if call.core not in self.fleet.cores:
            raise _no_core(call.core)
        if call.operation is Operation.LIST_DEVICES:
            return json_answer(list_devices(self.fleet, call.core, request.parameters))
        apply = self._end if call.operation is Operation.DISASSOCIATE else self._begin
        errors = [error for thing in things if (error := self._entry(call.core, thing, now, apply))]
        return json_answer({"errorEntries": errors})

    def _entry(
        self, core: str, thing: str, now: float, apply: Callable[[str, str, float], tuple[str, str] | None]
    ) -> dict[str, str] | None:
        fault = self.faults.strike_entry(thing)
        failure = (fault.code, f"Simulated failure of this entry: {fault.code}") if fault else apply(core, thing, now)
        if failure is None:
            return None
        code, message = failure
        self.counters.entry_codes[code] += 1
        return {"thingName": thing, "code": code, "message": message}

    def _end(self, core: str, thing: str, now: float) -> tuple[str, str] | None:
        if self.fleet.disassociate(core, thing):
            self.counters.end(core, thing)
            return None
        return self._not_found(f"Client device {thing} is not associated with core device {core}.")

    def _begin(self, core: str, thing: str, now: float) -> tuple[str, str] | None:
        if self.fleet.associate(core, thing, now):
            self.counters.begin(core, thing)
            return None
        return self._not_found(f"Thing {thing} does not exist.")

    def _not_found(self, message: str) -> tuple[str, str] | None:
        return None if self.config.not_found == "success" else (self.config.not_found, message)

    def _authenticate(self, request: Request, now: float, service: str) -> Signed:
        try:
            signed = read_signature(request, service)
            if self.config.max_skew is not None:
                check_date(signed, now, self.config.max_skew)
            if self.config.secret_key is not None:
                check_signature(signed, request, self.config.secret_key)
        except RefusalError:
            self.counters.unsigned += 1
            raise
        return signed

    def _identify(self, request: Request, now: float, request_id: str) -> Answer:
        self.counters.identity += 1
        try:
            if not is_identity_request(request):
                raise RefusalError(400, "InvalidAction", "Of STS only GetCallerIdentity is simulated.")
            signed = self._authenticate(request, now, "sts")
            if self.faults.refuses_key(signed.access_key):
                raise RefusalError(
                    403, "ExpiredTokenException", "The security token included in the request is expired"
                )
        except RefusalError as refusal:
            return sts_error(refusal.status, refusal.code, str(refusal), request_id)
        return identity_answer(self.config.account, signed.access_key, request_id)

    def _retry_after(self, now: float) -> dict[str, str]:
        match self.config.retry_after:
            case "none":
                return {}
            case "auto":  # whole seconds, and never "at once" [service model: integer]
                return {"Retry-After": str(max(1, math.ceil(self.quota.wait(now))))}
            case seconds:
                return {"Retry-After": seconds}


def _plan(config: SimulatorConfig, now: float) -> FleetPlan:
    return plan_fleet(
        config.cores,
        config.things,
        skew=config.skew,
        seed=config.seed,
        missing_things=config.missing_things,
        missing_cores=config.missing_cores,
        now=now,
    )


def _throttled(status: int = 429) -> RefusalError:
    return RefusalError(
        status, "ThrottlingException", "Too Many Requests", quotaCode=QUOTA_CODE, serviceCode="greengrass"
    )


def _no_core(core: str) -> RefusalError:
    message = f"Core device {core} does not exist."
    return RefusalError(404, "ResourceNotFoundException", message, resourceId=core, resourceType="CoreDevice")


def _refusal(fault: Fault, core: str) -> RefusalError:
    """The error a fault of a whole request is answered with, with the members its code has in the service model."""
    status = fault.kind.status
    match fault.code:
        case "ThrottlingException":
            return _throttled(status)
        case "ResourceNotFoundException":
            return _no_core(core)
        case "ValidationException":
            return RefusalError(400, fault.code, "Simulated fault: not valid.", reason="OTHER", fields=[])
        case "ExpiredTokenException":
            return RefusalError(status, fault.code, "The security token included in the request is expired")
        case "AccessDeniedException":
            return RefusalError(status, fault.code, f"The caller may not do this on coreDevices/{core}.")
        case _:
            return RefusalError(status, fault.code, f"Simulated fault: {fault.name}.")
