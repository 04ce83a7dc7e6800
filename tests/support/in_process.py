"""A transport that calls a simulated service in the same process, for virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote

from asyncgg.models import FOREIGN, Accepted, EntryError, ErrorResponse, NoResponse, Operation, Reply
from asyncgg.simulator.service import Service
from asyncgg.simulator.wire import Delivery, Request, Response

_DATE: Final = "20260101T000000Z"


class InProcessTransport:
    """A transport to a `Service` in this process.

    The service gets a request after half of its latency. `timeout` is in seconds; a request that
    exceeds it has no reply. Signatures have only the right form and the changeable `access_key`; a
    service with a secret key rejects them.
    """

    def __init__(
        self,
        service: Service,
        *,
        timeout: float = 60.0,
        access_key: str = "AKIDDIRECT",
        operation: Operation = Operation.DISASSOCIATE,
        now: Callable[[], float] | None = None,
    ) -> None:
        """`now` replaces the time of the running loop as the time of the service."""
        self.service = service
        self.timeout = timeout
        self.access_key = access_key
        self._action = f"{operation}ClientDevices"
        self._now = now

    async def send(self, core: str, things: Sequence[str]) -> Reply:
        """What became of one request."""
        half_latency = self.service.config.latency_ms / 2000
        await asyncio.sleep(half_latency)
        now = self._now() if self._now else asyncio.get_running_loop().time()
        response = self.service.handle(self._request(core, things), now)
        with self.service.counters.track_in_flight(core):
            remaining_delay = response.delay - half_latency
            if response.delivery is Delivery.HANG or response.delay > self.timeout:
                await asyncio.sleep(max(0.0, self.timeout - half_latency))
                return NoResponse("timeout", f"no response within {self.timeout:g} s", sent=True)
            await asyncio.sleep(remaining_delay)
        return to_reply(response)

    def _request(self, core: str, things: Sequence[str]) -> Request:
        credential = f"{self.access_key}/{_DATE[:8]}/us-east-1/greengrass/aws4_request"
        headers = {
            "authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, "
            f"Signature={'0' * 64}",
            "host": "direct",
            "x-amz-date": _DATE,
        }
        body = json.dumps({"entries": [{"thingName": thing} for thing in things]}).encode()
        target = f"/greengrass/v2/coreDevices/{quote(core, safe='')}/{self._action}"
        return Request("POST", target, headers, body)


def to_reply(response: Response) -> Reply:
    """Convert a response, except one that hangs."""
    if response.delivery is Delivery.RESET:
        return NoResponse("reset", "connection reset by peer", sent=True)
    if response.delivery is Delivery.TRUNCATED:
        return NoResponse("garbage", "the body ended early", sent=True)
    if response.status != 200 and "x-amzn-ErrorType" not in response.headers:
        content_type = response.headers.get("Content-Type", "")
        return NoResponse(FOREIGN, f"HTTP {response.status} ({content_type}), not from the service", sent=True)
    try:
        document: dict[str, Any] = json.loads(response.body)
    except ValueError:
        return NoResponse("garbage", "the body is not JSON", sent=True)
    request_id = response.headers.get("x-amzn-RequestId", "")
    if response.status == 200:
        errors = tuple(EntryError(e["thingName"], e["code"], e["message"]) for e in document.get("errorEntries", ()))
        return Accepted(errors, request_id)
    retry_after = response.headers.get("Retry-After")
    return ErrorResponse(
        status=response.status,
        code=response.headers.get("x-amzn-ErrorType", ""),
        message=document.get("message", ""),
        request_id=request_id,
        retry_after=None if retry_after is None else float(retry_after),
        reason=document.get("reason", ""),
        fields=tuple(field["name"] for field in document.get("fields", ())),
        resource_id=document.get("resourceId", ""),
        resource_type=document.get("resourceType", ""),
        quota_code=document.get("quotaCode", ""),
        service_code=document.get("serviceCode", ""),
    )
