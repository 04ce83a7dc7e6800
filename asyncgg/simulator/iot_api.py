"""Simulates AWS IoT: counts each request against the quota of its operation, then applies it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from asyncgg.errors import UsageError
from asyncgg.service_limiters import LimiterSpec, ServiceLimiter
from asyncgg.simulator import iot_operations, iot_shadows  # noqa: F401 - they register their operations
from asyncgg.simulator.iot_call import CONTROL_PLANE, IOT_OPERATIONS, IotCall
from asyncgg.simulator.registry import Registry
from asyncgg.simulator.wire import ApiError, Response, json_response


def parse_iot_quotas(entries: Sequence[str]) -> dict[str, float]:
    """The quotas with those of `OPERATION=RATE` entries; `*` is every operation. Raises `UsageError`."""
    quotas = {name: float(operation.quota) for name, operation in IOT_OPERATIONS.items()}
    for entry in entries:
        name, _, text = entry.partition("=")
        try:
            rate = float(text)
        except ValueError:
            rate = 0.0
        if name not in {*quotas, "*"}:
            raise UsageError(f"iot-quota {entry!r}: the operation must be * or one of: {', '.join(quotas)}")
        if not rate > 0:
            raise UsageError(f"iot-quota {entry!r}: the rate must be above 0 requests per second")
        quotas |= dict.fromkeys(quotas, rate) if name == "*" else {name: rate}
    return quotas


class IotApi:
    """AWS IoT and its shadows for one `registry`.

    `burst`: requests that a quota admits at once, and at least a quarter of a second's worth (assumed).
    """

    def __init__(self, registry: Registry, quotas: Mapping[str, float], limiter: LimiterSpec, burst: float) -> None:
        self.registry = registry
        self._quotas, self._limiter, self._burst = quotas, limiter, burst
        self._limiters: dict[str, ServiceLimiter] = {}
        self._rng = random.Random(0)  # chooses partitions

    def admit(self, call: IotCall) -> None:
        """Count a request against the quota of its operation. Raises `ApiError`.

        ThrottlingException has HTTP status 400 in the control plane, 429 in the data plane [service
        models]; its message names no quota [aws-sdk-js issue 4223].
        """
        name = call.operation.name
        limiter = self._limiters.get(name)
        if limiter is None:
            rate = self._quotas[name]
            limiter = self._limiter.create(rate, max(self._burst, rate / 4), self._rng, call.now)
            self._limiters[name] = limiter
        if not limiter.try_acquire(call.now):
            status = 400 if call.operation.service == CONTROL_PLANE else 429
            raise ApiError(status, "ThrottlingException", "Rate exceeded")

    def perform(self, call: IotCall) -> Response:
        """Apply a request. Raises `ApiError`."""
        return json_response(call.operation.handler(self.registry, call))
