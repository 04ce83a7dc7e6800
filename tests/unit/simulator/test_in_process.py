"""Rule: the short way to the service gives the replies that an engine's transport would give."""

from __future__ import annotations

import pytest

from asyncgg.models import Accepted, EntryError, ErrorResponse, NoResponse
from asyncgg.simulator import InProcessTransport
from tests.support.simulator import make_service


async def test_accepted() -> None:
    """Success carries the error entries word for word; nothing else is in them."""
    reply = await InProcessTransport(make_service()).send("core-1", ["a", "x"])
    assert isinstance(reply, Accepted)
    message = "Client device x is not associated with core device core-1."
    assert reply.errors == (EntryError("x", "ResourceNotFoundException", message),)
    assert reply.request_id


async def test_refused() -> None:
    """Errors carry status, code and the members of their kind."""
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
async def test_unanswered(fault: str, kind: str, applied: bool) -> None:
    """A lost reply says how it was lost, and that the request was sent."""
    simulated = make_service(fault=(fault,))
    reply = await InProcessTransport(simulated, timeout=0.0).send("core-1", ["a"])
    assert isinstance(reply, NoResponse)
    assert (reply.kind, reply.sent) == (kind, True)
    assert ("a" not in simulated.fleet.things["core-1"]) is applied
    assert simulated.counters.in_flight == 0


async def test_another_key_cures_an_expired_token() -> None:
    """The access key id can be exchanged between two requests."""
    transport = InProcessTransport(make_service(fault=("expired-token@OLD",)), access_key="OLD")
    refused = await transport.send("core-1", ["a"])
    assert isinstance(refused, ErrorResponse)
    assert refused.code == "ExpiredTokenException"
    transport.access_key = "NEW"
    assert isinstance(await transport.send("core-1", ["a"]), Accepted)
