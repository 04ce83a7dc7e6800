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
from asyncgg.decommission.quotas import DEFAULT_QUOTAS
from asyncgg.simulator import Request, Response, Service

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


def control_plane(
    service: Service, handle: Callable[[Request], Response] | None = None, rate: float | None = None
) -> IotControlPlane:
    """A control plane that calls `service`. `rate` replaces every quota."""

    def send(request: Request) -> Response:
        return service.handle(request, asyncio.get_running_loop().time())

    quotas = DEFAULT_QUOTAS if rate is None else dict.fromkeys(DEFAULT_QUOTAS, rate)
    iot, greengrass = (InProcessClient(name, handle or send) for name in ("iot", "greengrassv2"))
    return IotControlPlane(iot, greengrass, quotas, core_device_rate=rate or 30.0)


@cache
def _model(service_name: str) -> Any:
    return botocore.session.get_session().get_service_model(service_name)
