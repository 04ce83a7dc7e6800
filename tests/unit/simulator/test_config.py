"""Rule: how the simulator is set up, and how it refuses settings and questions that make no sense."""

from __future__ import annotations

from typing import Any

import pytest

from asyncgg.errors import UsageError
from asyncgg.simulator import Request, SimulatorConfig
from asyncgg.simulator.control_api import handle_control_request
from tests.support.simulator import make_service, response_json


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"rate": 0.0}, "rate"),
        ({"burst": 0.0}, "burst"),
        ({"cores": 0}, "cores"),
        ({"things": -1}, "things"),
        ({"latency_ms": float("nan")}, "latency-ms"),
        ({"max_clock_skew": -1.0}, "max-clock-skew"),
        ({"retry_after": "soon"}, "retry-after"),
        ({"account": "12"}, "account"),
        ({"not_found": "two words"}, "not-found"),
        ({"fault": ("nonsense",)}, "nonsense"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], word: str) -> None:
    """A setting out of its range is a usage error that names it."""
    with pytest.raises(UsageError, match=word):
        SimulatorConfig(**settings)


def test_the_secret_is_not_shown() -> None:
    """Neither the settings' text nor the introspection tells the secret key."""
    simulated = make_service(secret_key="hush-hush")
    assert "hush" not in repr(simulated.config)
    assert b"hush" not in handle_control_request(simulated, Request("GET", "/_sim/config", {}), 0.0).body


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/_sim/faults", b'{"faults":["nonsense"]}', 400),
        ("POST", "/_sim/faults", b'{"faults":"500"}', 400),
        ("POST", "/_sim/faults", b"[]", 400),
        ("POST", "/_sim/faults", b"{", 400),
        ("POST", "/_sim/quota", b'{"rate":"fast"}', 400),
        ("POST", "/_sim/quota", b'{"rate":0}', 400),
        ("GET", "/_sim/requests?last=x", b"", 400),
        ("GET", "/_sim/nothing", b"", 404),
        ("POST", "/_sim/state", b"", 404),
    ],
)
def test_wrong_questions_get_a_sentence(method: str, path: str, body: bytes, status: int) -> None:
    """What cannot be understood under /_sim is refused with a message, and changes nothing."""
    simulated = make_service(rate=30.0, fault=("500",))
    answer = handle_control_request(simulated, Request(method, path, {}, body), 1000.0)
    assert answer.status == status
    assert response_json(answer)["message"]
    assert (simulated.quota.rate, len(simulated.faults.specs)) == (30.0, 1)
