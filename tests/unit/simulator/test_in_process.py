"""Tests of the transport that calls a simulated service in the same process."""

from __future__ import annotations

import pytest

from asyncgg.models import Accepted, EntryError, ErrorResponse, NoResponse
from tests.support.in_process import InProcessTransport
from tests.support.simulator import make_service


async def test_send_returns_accepted_with_errors() -> None:
    """The reply has the error entries of the service."""
    reply = await InProcessTransport(make_service()).send("core-1", ["a", "x"])
    assert isinstance(reply, Accepted)
    message = "Client device x is not associated with core device core-1."
    assert reply.errors == (EntryError("x", "ResourceNotFoundException", message),)
    assert reply.request_id


async def test_send_returns_error_response() -> None:
    """Errors have status, code and their members."""
    transport = InProcessTransport(make_service(rate=0.001, burst=2.0, retry_after="5"), now=lambda: 1000.0)
    missing = await transport.send("no:where", ["a"])
    assert isinstance(missing, ErrorResponse)
    assert (missing.status, missing.code, missing.resource_id) == (404, "ResourceNotFoundException", "no:where")
    invalid = await transport.send("core-1", ["a b"])
    assert isinstance(invalid, ErrorResponse)
    assert (invalid.reason, invalid.fields) == ("FIELD_VALIDATION_FAILED", ("entries[0].thingName",))
    throttled = await transport.send("core-1", ["a"])
    assert isinstance(throttled, ErrorResponse)
    assert (throttled.status, throttled.retry_after, throttled.quota_code) == (429, 5.0, "L-7A577824")


@pytest.mark.parametrize(
    ("fault", "kind", "applied"),
    [
        ("reset-before", "reset", False),
        ("reset-after", "reset", True),
        ("hang", "timeout", False),
        ("hang-after", "timeout", True),
        ("slow:99", "timeout", True),
        ("garbage", "garbage", True),
        ("half", "garbage", True),
    ],
)
async def test_send_without_response_returns_no_response(fault: str, kind: str, applied: bool) -> None:
    """A lost response has its kind and counts as sent."""
    simulated = make_service(fault=(fault,))
    reply = await InProcessTransport(simulated, timeout=0.0).send("core-1", ["a"])
    assert isinstance(reply, NoResponse)
    assert (reply.kind, reply.sent) == (kind, True)
    assert ("a" not in simulated.fleet.things["core-1"]) is applied
    assert simulated.counters.in_flight == 0


async def test_send_with_new_access_key_succeeds_after_expiry() -> None:
    """The access key id can change between two requests."""
    transport = InProcessTransport(make_service(fault=("expired-token@OLD",)), access_key="OLD")
    rejected = await transport.send("core-1", ["a"])
    assert isinstance(rejected, ErrorResponse)
    assert rejected.code == "ExpiredTokenException"
    transport.access_key = "NEW"
    assert isinstance(await transport.send("core-1", ["a"]), Accepted)
