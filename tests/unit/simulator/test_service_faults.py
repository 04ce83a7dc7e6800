"""Rule: what each fault does to an answer and to the fleet."""

from __future__ import annotations

import json

import pytest

from asyncgg.simulator import Delivery
from tests.support.simulator import batch_request, error_code, make_service, response_json


@pytest.mark.parametrize(
    ("fault", "status", "code", "fate", "applied"),
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
        ("entry:ThrottlingException", 200, "", Delivery.REPLY, False),
    ],
)
def test_each_fault_does_what_it_says(fault: str, status: int, code: str, fate: Delivery, applied: bool) -> None:
    """Status, code and fate are the fault's, and the change is made exactly when it should be."""
    simulated = make_service(fault=(fault,))
    answer = simulated.handle(batch_request("core-1", ["a"]), 1000.0)
    assert (answer.status, error_code(answer), answer.delivery) == (status, code, fate)
    assert ("a" not in simulated.fleet.things["core-1"]) is applied
    assert simulated.faults.fired == {fault: 1}


def test_garbage_is_not_json() -> None:
    """A spoiled 200 cannot be read as an answer."""
    with pytest.raises(json.JSONDecodeError):
        response_json(make_service(fault=("garbage",)).handle(batch_request("core-1", ["a"]), 1000.0))


def test_entry_faults_leave_the_others_alone() -> None:
    """An entry that fails is not applied, its neighbours are, and the next try succeeds."""
    simulated = make_service(fault=("entry:InternalServerException@b=1",))
    first = response_json(simulated.handle(batch_request("core-1", ["a", "b"]), 1000.0))
    assert [(e["thingName"], e["code"]) for e in first["errorEntries"]] == [("b", "InternalServerException")]
    assert list(simulated.fleet.things["core-1"]) == ["b", "c"]
    assert response_json(simulated.handle(batch_request("core-1", ["b"]), 1000.0)) == {"errorEntries": []}
    assert simulated.counters.carried == {"core-1": {"a": 1, "b": 2}}
    assert simulated.counters.resent == {}


def test_expired_tokens_cost_no_quota_and_can_be_cured() -> None:
    """Requests with the old key are refused before the quota; those with a new one are served."""
    simulated = make_service(rate=1.0, burst=1.0, fault=("expired-token@OLD*",))
    assert error_code(simulated.handle(batch_request("core-1", ["a"], key="OLD1"), 1000.0)) == "ExpiredTokenException"
    assert simulated.handle(batch_request("core-1", ["a"], key="NEW1"), 1000.0).status == 200
