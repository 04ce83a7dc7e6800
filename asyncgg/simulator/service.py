"""Simulates the service: converts a request and a time to a response."""

# The order of checks is not documented by AWS. Here: signature, age of the session token, quota,
# form of the request, faults, core, entries. Unsigned requests and unknown operations use no quota.

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Final

from asyncgg.simulator.auth import (
    RequestSignature,
    check_date,
    check_signature,
    identity_response,
    is_identity_request,
    parse_signature,
    sts_error,
)
from asyncgg.simulator.config import SimulatorConfig
from asyncgg.simulator.core_pages import core_to_dict, list_cores, list_devices
from asyncgg.simulator.counters import Counters, RequestLogEntry
from asyncgg.simulator.faults import FaultEffect, FaultInjector, FaultSpec, InjectedFault, parse_faults
from asyncgg.simulator.fleet import Fleet, FleetSpec, generate_fleet
from asyncgg.simulator.iot_api import IotApi, parse_iot_quotas
from asyncgg.simulator.iot_call import IotCall, route_iot
from asyncgg.simulator.registry import Registry
from asyncgg.simulator.validation import check_core, read_entries
from asyncgg.simulator.wire import ApiError, ApiOperation, Call, Delivery, Request, Response, json_response, route

QUOTA_CODE: Final = "L-7A577824"
"""Probable quota code of the request rate, for ThrottlingException."""

_DELIVERIES: Final = {
    FaultEffect.RESET: Delivery.RESET,
    FaultEffect.HANG: Delivery.HANG,
    FaultEffect.TRUNCATED: Delivery.TRUNCATED,
}
_GARBAGE_BODY: Final = b"<html><body>This is not the answer you are looking for.</body></html>"


class Service:
    """Simulated Greengrass V2, AWS IoT and STS GetCallerIdentity of one account and Region."""

    def __init__(self, config: SimulatorConfig | None = None, *, fleet_spec: FleetSpec | None = None, now: float = 0.0):
        """`fleet_spec` replaces the generated fleet; `now` is in seconds since 1970."""
        self.config = config or SimulatorConfig()
        self.fleet_spec = fleet_spec or _generate_from_config(self.config, now)
        self.on_log_entry: Callable[[RequestLogEntry], None] | None = None
        """Called with each log entry."""
        self.reset(now)

    def reset(self, now: float) -> None:
        """Restore the initial fleet, registry, quotas, faults, random numbers and counters."""
        self.fleet = Fleet(self.fleet_spec)
        self._iot: IotApi | None = None
        self.counters = Counters()
        self.quota = self.config.limiter_spec().create(
            self.config.rate, self.config.burst, random.Random(f"partitions {self.config.seed}"), now
        )
        self._rng = random.Random(f"service {self.config.seed}")
        self.set_faults(self.config.fault)

    def set_faults(self, specs: Iterable[str]) -> None:
        """Replace all faults and reset their counts. Raises `UsageError`."""
        faults = parse_faults(specs)
        self.faults = FaultInjector(faults, random.Random(f"faults {self.config.seed}"))

    def set_quota(self, rate: float, burst: float, now: float) -> None:
        """Change rate and burst of the quota. Raises `UsageError`."""
        self.config.limiter_spec().check_quota(rate, burst)
        self.quota.set_limits(rate, burst, now)

    @property
    def registry(self) -> Registry:
        """Things and certificates in AWS IoT: one of each for every core and client device at first."""
        return self._iot_api().registry

    def handle(self, request: Request, now: float) -> Response:
        """Handle a request that arrives at `now`; changes apply at once, before the delay."""
        request_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        is_sts = request.path in ("/", "")
        response = self._handle_sts(request, now, request_id) if is_sts else self._handle_api(request, now, request_id)
        delay = response.delay + self.config.latency_ms / 1000
        if self.config.jitter_ms:
            delay += self._rng.expovariate(1000 / self.config.jitter_ms)
        headers = {"x-amzn-RequestId": request_id} if response.from_service else {}
        return replace(response, delay=delay, headers={**response.headers, **headers})

    def _handle_api(self, request: Request, now: float, request_id: str) -> Response:
        call = route(request.method, request.path)
        if call is not None:
            operation, perform = call.operation.value, partial(self._process, call, request)
            return self._handle_and_log(perform, request, RequestLogEntry(now, operation, call.core), request_id)
        iot_call = route_iot(request, now, self.config.iot_page_size)
        if iot_call is not None:
            entry = RequestLogEntry(now, iot_call.operation.name, subject=iot_call.subject)
            perform = partial(self._process_iot, iot_call)
            return self._handle_and_log(perform, request, entry, request_id, iot_call.operation.service)
        self.counters.requests["unknown"] += 1
        return ApiError(404, "UnknownOperationException", "Unknown operation.").to_response()

    def _handle_and_log(
        self,
        perform: Callable[[str, float], Response],
        request: Request,
        entry: RequestLogEntry,
        request_id: str,
        service: str = "greengrass",
    ) -> Response:
        """Call `perform` with the access key and the time, and log what became of the request."""
        code, now = "", entry.time
        try:
            response = perform(self._authenticate(request, now, service).access_key, now)
        except ApiError as error:
            code = error.code
            response = error.to_response(self._retry_after_header(now) if code == "ThrottlingException" else None)
        entry = replace(
            entry,
            entries=request.body.count(b'"thingName"'),
            status=response.status,
            delivery=response.delivery.value,
            code=code,
            request_id=request_id,
        )
        counters = self.counters
        counters.requests[entry.operation] += 1
        counters.statuses[entry.status] += 1
        if code:
            counters.codes[code] += 1
            counters.throttled += code == "ThrottlingException"
        counters.log.append(entry)
        if self.on_log_entry:
            self.on_log_entry(entry)
        return replace(response, core=entry.core)

    def _process_iot(self, call: IotCall, access_key: str, now: float) -> Response:
        operation = call.operation.name
        expired = self.faults.draw_for_credentials(access_key)
        if expired:
            raise _error_for_fault(expired, operation)
        api = self._iot_api()
        api.admit(call)
        self.counters.admitted += 1
        injected = self.faults.draw_for_request("", (), operation)
        return self._apply_fault(injected, operation, partial(api.perform, call))

    def _iot_api(self) -> IotApi:
        if self._iot is None:
            config = self.config
            registry = Registry.of_fleet(self.fleet_spec.things, config.account, config.detach_delay)
            quotas = parse_iot_quotas(config.iot_quota)
            self._iot = IotApi(registry, quotas, config.limiter_spec(), config.burst)
        return self._iot

    def _process(self, call: Call, request: Request, access_key: str, now: float) -> Response:
        expired = self.faults.draw_for_credentials(access_key)
        if expired:
            raise _error_for_fault(expired, call.core)
        if not self.quota.try_acquire(now):
            raise _throttling_error()
        self.counters.admitted += 1
        if call.operation is not ApiOperation.LIST_CORES:
            check_core(call.core)
        is_batch = call.operation in (ApiOperation.DISASSOCIATE, ApiOperation.ASSOCIATE)
        things = read_entries(request.body) if is_batch else []
        if call.operation is ApiOperation.DISASSOCIATE:
            self.counters.record_batch(call.core, things)
        injected = self.faults.draw_for_request(call.core, things, call.operation.value)
        return self._apply_fault(injected, call.core, partial(self._perform, call, request, things, now))

    def _apply_fault(self, injected: InjectedFault, core: str, perform: Callable[[], Response]) -> Response:
        try:
            response = self._faulty_response(injected.spec, core, perform)
        except ApiError as error:
            error.delay = injected.extra_delay
            raise
        return replace(response, delay=injected.extra_delay)

    def _faulty_response(self, fault: FaultSpec | None, core: str, perform: Callable[[], Response]) -> Response:
        if fault is None:
            return perform()
        response = perform() if fault.kind.applied else json_response({})
        effect = fault.kind.effect
        if effect is FaultEffect.ERROR:
            raise _error_for_fault(fault, core)
        if effect is FaultEffect.PAGE:
            return _page(fault)
        if effect is FaultEffect.GARBAGE:
            return replace(response, body=_GARBAGE_BODY)
        return replace(response, delivery=_DELIVERIES[effect])

    def _perform(self, call: Call, request: Request, things: list[str], now: float) -> Response:
        if call.operation is ApiOperation.LIST_CORES:
            return json_response(list_cores(self.fleet, request.parameters))
        if call.core not in self.fleet.cores:
            raise _core_not_found(call.core)
        if call.operation is ApiOperation.GET_CORE:
            return json_response(core_to_dict(self.fleet.cores[call.core]))
        if call.operation is ApiOperation.LIST_DEVICES:
            return json_response(list_devices(self.fleet, call.core, request.parameters))
        apply = self._disassociate if call.operation is ApiOperation.DISASSOCIATE else self._associate
        errors = [error for thing in things if (error := self._process_entry(call.core, thing, now, apply))]
        return json_response({"errorEntries": errors})

    def _process_entry(
        self, core: str, thing: str, now: float, apply: Callable[[str, str, float], tuple[str, str] | None]
    ) -> dict[str, str] | None:
        fault = self.faults.draw_for_entry(thing)
        failure = (fault.code, f"Simulated failure of this entry: {fault.code}") if fault else apply(core, thing, now)
        if failure is None:
            return None
        code, message = failure
        self.counters.entry_codes[code] += 1
        return {"thingName": thing, "code": code, "message": message}

    def _disassociate(self, core: str, thing: str, now: float) -> tuple[str, str] | None:
        if self.fleet.disassociate(core, thing):
            self.counters.record_disassociated(core, thing)
            return None
        return self._not_found(f"Client device {thing} is not associated with core device {core}.")

    def _associate(self, core: str, thing: str, now: float) -> tuple[str, str] | None:
        if self.fleet.associate(core, thing, now):
            self.counters.record_associated(core, thing)
            return None
        return self._not_found(f"Thing {thing} does not exist.")

    def _not_found(self, message: str) -> tuple[str, str] | None:
        return None if self.config.not_found == "success" else (self.config.not_found, message)

    def _authenticate(self, request: Request, now: float, service: str) -> RequestSignature:
        try:
            signature = parse_signature(request, service)
            if self.config.max_clock_skew is not None:
                check_date(signature, now, self.config.max_clock_skew)
            if self.config.secret_key is not None:
                check_signature(signature, request, self.config.secret_key)
        except ApiError:
            self.counters.unsigned += 1
            raise
        return signature

    def _handle_sts(self, request: Request, now: float, request_id: str) -> Response:
        self.counters.identity += 1
        try:
            if not is_identity_request(request):
                raise ApiError(400, "InvalidAction", "Only GetCallerIdentity of STS is simulated.")
            signature = self._authenticate(request, now, "sts")
            if self.faults.refuses_key(signature.access_key):
                raise ApiError(403, "ExpiredTokenException", "The security token included in the request is expired")
        except ApiError as error:
            return sts_error(error.status, error.code, str(error), request_id)
        return identity_response(self.config.account, signature.access_key, request_id)

    def _retry_after_header(self, now: float) -> dict[str, str]:
        match self.config.retry_after:
            case "none":
                return {}
            case "auto":  # whole seconds, at least 1 [service model: integer]
                return {"Retry-After": str(max(1, math.ceil(self.quota.seconds_until_admitted(now))))}
            case seconds:
                return {"Retry-After": seconds}


def _generate_from_config(config: SimulatorConfig, now: float) -> FleetSpec:
    return generate_fleet(
        config.cores,
        config.things,
        size_skew=config.size_skew,
        seed=config.seed,
        missing_things=config.missing_things,
        missing_cores=config.missing_cores,
        now=now,
    )


def _throttling_error(status: int = 429) -> ApiError:
    return ApiError(status, "ThrottlingException", "Too Many Requests", quotaCode=QUOTA_CODE, serviceCode="greengrass")


def _core_not_found(core: str) -> ApiError:
    message = f"Core device {core} does not exist."
    return ApiError(404, "ResourceNotFoundException", message, resourceId=core, resourceType="CoreDevice")


def _page(fault: FaultSpec) -> Response:
    """Get the answer of something between client and service."""
    body = b"" if fault.name == "page-empty" else _GARBAGE_BODY
    headers = {"Content-Type": "text/html"} | ({"Location": "http://login.invalid/"} if fault.status < 400 else {})
    return Response(fault.status, body, headers, from_service=False)


def _error_for_fault(fault: FaultSpec, core: str) -> ApiError:
    """Get the error of an injected request fault with the members of the service model."""
    status = fault.kind.status
    match fault.code:
        case "ThrottlingException":
            return _throttling_error(status)
        case "ResourceNotFoundException":
            return _core_not_found(core)
        case "ValidationException":
            return ApiError(400, fault.code, "Simulated fault: invalid.", reason="OTHER", fields=[])
        case "ExpiredTokenException":
            return ApiError(status, fault.code, "The security token included in the request is expired")
        case "AccessDeniedException":
            return ApiError(status, fault.code, f"The caller is not authorized for coreDevices/{core}.")
        case _:
            return ApiError(status, fault.code, f"Simulated fault: {fault.name}.")
