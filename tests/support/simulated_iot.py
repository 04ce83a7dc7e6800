"""The simulated AWS IoT as a client in the same process, for virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any
from urllib.parse import urlencode

import botocore.session
from botocore import xform_name
from botocore.awsrequest import prepare_request_dict
from botocore.exceptions import ClientError
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from asyncgg.decommission.control_plane import IotControlPlane
from asyncgg.decommission.quotas import DEFAULT_QUOTAS, GET_CORE_DEVICE
from asyncgg.simulator import FleetSpec, Request, Response
from asyncgg.simulator.iot_call import route_iot
from tests.support.simulator import make_service

WRITES = frozenset({"UpdateCertificate", "DetachThingPrincipal", "DeleteThing", "DetachPolicy", "DeleteCertificate"})
_DATE = "20260101T000000Z"


class InProcessClient:
    """Has the methods of an aiobotocore client; serializes and parses with the service model."""

    def __init__(self, service_name: str, handle: Callable[[Request], Response]) -> None:
        self._model = _model(service_name)
        self._handle = handle
        self._operations = {xform_name(name): name for name in self._model.operation_names}

    def __getattr__(self, name: str) -> Callable[..., Awaitable[dict[str, Any]]]:
        if name.startswith("_") or name not in self._operations:
            raise AttributeError(name)

        async def method(**arguments: Any) -> dict[str, Any]:
            return await self._call(self._operations[name], arguments)

        return method

    async def _call(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        model = self._model.operation_model(operation)
        prepared: Any = create_serializer("rest-json").serialize_to_request(arguments, model)
        prepare_request_dict(prepared, endpoint_url="http://direct")
        target = prepared["url"].removeprefix("http://direct")
        if prepared["query_string"] and "?" not in target:
            target += f"?{urlencode(prepared['query_string'])}"
        scope = f"{_DATE[:8]}/us-east-1/{self._model.signing_name}/aws4_request"
        headers = {name.lower(): str(value) for name, value in prepared["headers"].items()} | {
            "authorization": f"AWS4-HMAC-SHA256 Credential=AKID/{scope}, SignedHeaders=host;x-amz-date, "
            f"Signature={'0' * 64}",
            "host": "direct",
            "x-amz-date": _DATE,
        }
        response = self._handle(Request(prepared["method"], target, headers, prepared["body"] or b""))
        await asyncio.sleep(response.delay)
        received = {name.lower(): value for name, value in response.headers.items()}
        raw = {"body": response.body, "headers": received, "status_code": response.status}
        parsed: dict[str, Any] = create_parser("rest-json").parse(raw, model.output_shape)
        if response.status >= 300:
            raise ClientError(parsed, operation)
        return parsed


class CrashError(BaseException):
    """The process ends here."""


class CrashingIot:
    """A service on the clock of the running loop, without quotas, at which the process may end.

    `crash_at`: the number of the write at which it ends, before it is applied, or after it with
    `crash_after`.
    """

    def __init__(self, fleet: FleetSpec, **settings: Any) -> None:
        limits = {"iot_quota": ("*=1000",), "burst": 1000.0, "detach_delay": 8.0}
        self.service = make_service(fleet, **{**limits, **settings})
        self.registry = self.service.registry
        self.crash_at, self.crash_after = -1, False
        self.writes: list[str] = []
        """Every write that was applied without an error."""

    def control_plane(self) -> IotControlPlane:
        """A control plane that calls the service."""
        iot, greengrass = (InProcessClient(name, self.handle) for name in ("iot", "greengrassv2"))
        return IotControlPlane(iot, greengrass, dict.fromkeys([*DEFAULT_QUOTAS, GET_CORE_DEVICE], 1000.0))

    def handle(self, request: Request) -> Response:
        """Answer a request. Raises `CrashError` at the chosen write."""
        now = asyncio.get_running_loop().time()
        call = route_iot(request, now, 250)
        if call is None or call.operation.name not in WRITES:
            return self.service.handle(request, now)
        is_crash = len(self.writes) == self.crash_at
        if is_crash and not self.crash_after:
            raise CrashError
        response = self.service.handle(request, now)
        if response.status == 200:
            self.writes.append(f"{call.operation.name} {call.subject}")
        if is_crash:
            raise CrashError
        return response


async def crash(work: Awaitable[object]) -> bool:
    """Run `work` until it ends or crashes, and end what it left running; True if it crashed."""
    try:
        await work
    except CrashError:
        pass
    except BaseExceptionGroup as group:  # of a task group
        if group.split(CrashError)[0] is None:
            raise
    else:
        return False
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return True


@cache
def _model(service_name: str) -> Any:
    return botocore.session.get_session().get_service_model(service_name)
