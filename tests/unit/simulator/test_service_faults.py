"""Tests of the effects of faults on responses and the fleet."""

from __future__ import annotations

import json

import pytest

from asyncgg.simulator import Delivery
from tests.support.simulator import batch_request, error_code, make_service, response_json


@pytest.mark.parametrize(
    ("fault", "status", "code", "delivery", "applied"),
    [
        ("500", 500, "InternalServerException", Delivery.REPLY, False),
        ("500-after", 500, "InternalServerException", Delivery.REPLY, True),
        ("503", 503, "ServiceUnavailableException", Delivery.REPLY, False),
        ("404", 404, "ResourceNotFoundException", Delivery.REPLY, False),
        ("429", 429, "ThrottlingException", Delivery.REPLY, False),
        ("throttling-400", 400, "ThrottlingException", Delivery.REPLY, False),
        ("deny-all", 403, "AccessDeniedException", Delivery.REPLY, False),
        ("deny@core-*", 403, "AccessDeniedException", Delivery.REPLY, False),
        ("validation@a", 400, "ValidationException", Delivery.REPLY, False),
        ("expired-token", 403, "ExpiredTokenException", Delivery.REPLY, False),
        ("expired-token:UnrecognizedClientException", 403, "UnrecognizedClientException", Delivery.REPLY, False),
        ("reset-before", 200, "", Delivery.RESET, False),
        ("reset-after", 200, "", Delivery.RESET, True),
        ("hang", 200, "", Delivery.HANG, False),
        ("hang-after", 200, "", Delivery.HANG, True),
        ("half", 200, "", Delivery.TRUNCATED, True),
        ("half-before", 200, "", Delivery.TRUNCATED, False),
        ("garbage", 200, "", Delivery.REPLY, True),
        ("garbage-before", 200, "", Delivery.REPLY, False),
        ("page:302", 302, "", Delivery.REPLY, False),
        ("page-empty:403", 403, "", Delivery.REPLY, False),
        ("page-after:504", 504, "", Delivery.REPLY, True),
        ("entry:ThrottlingException", 200, "", Delivery.REPLY, False),
    ],
)
def test_fault_sets_status_code_and_delivery(
    fault: str, status: int, code: str, delivery: Delivery, applied: bool
) -> None:
    """Status, code and delivery depend on the fault, and so does the change of the fleet."""
    simulated = make_service(fault=(fault,))
    response = simulated.handle(batch_request("core-1", ["a"]), 1000.0)
    assert (response.status, error_code(response), response.delivery) == (status, code, delivery)
    assert ("a" not in simulated.fleet.things["core-1"]) is applied
    assert simulated.faults.fired == {fault: 1}


@pytest.mark.parametrize(("fault", "is_empty"), [("page:403", False), ("page-empty:403", True)])
def test_page_fault_has_no_mark_of_the_service(fault: str, is_empty: bool) -> None:
    """The answer is HTML or empty, without request id and error type."""
    response = make_service(fault=(fault,)).handle(batch_request("core-1", ["a"]), 1000.0)
    assert dict(response.headers) == {"Content-Type": "text/html"}
    assert (response.body == b"") is is_empty


def test_garbage_fault_is_not_json() -> None:
    """The body of a 200 with the fault is not JSON."""
    with pytest.raises(json.JSONDecodeError):
        response_json(make_service(fault=("garbage",)).handle(batch_request("core-1", ["a"]), 1000.0))


def test_entry_fault_affects_one_entry() -> None:
    """The failed entry is not applied, the other one is, and the next attempt succeeds."""
    simulated = make_service(fault=("entry:InternalServerException@b=1",))
    first = response_json(simulated.handle(batch_request("core-1", ["a", "b"]), 1000.0))
    assert [(e["thingName"], e["code"]) for e in first["errorEntries"]] == [("b", "InternalServerException")]
    assert list(simulated.fleet.things["core-1"]) == ["b", "c"]
    assert response_json(simulated.handle(batch_request("core-1", ["b"]), 1000.0)) == {"errorEntries": []}
    assert simulated.counters.carried == {"core-1": {"a": 1, "b": 2}}
    assert simulated.counters.resent == {}


def test_expired_token_uses_no_quota_and_new_key_succeeds() -> None:
    """Requests with the old key are rejected before the quota; those with a new key succeed."""
    simulated = make_service(rate=1.0, burst=1.0, fault=("expired-token@OLD*",))
    assert error_code(simulated.handle(batch_request("core-1", ["a"], key="OLD1"), 1000.0)) == "ExpiredTokenException"
    assert simulated.handle(batch_request("core-1", ["a"], key="NEW1"), 1000.0).status == 200
