"""Tests of asyncgg.simulator.config and of invalid requests to the control API."""

from __future__ import annotations

from typing import Any

import pytest

from asyncgg.errors import UsageError
from asyncgg.simulator import Request, SimulatorConfig
from asyncgg.simulator.control_api import handle_control_request
from tests.support.simulator import make_service, response_json


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"rate": 0.0}, "rate"),
        ({"burst": 0.0}, "burst"),
        ({"limiter": "leaky"}, "limiter"),
        ({"limiter": "sliding-window", "rate": 0.5}, "longer window"),
        ({"limiter": "sliding-window", "partitions": 8}, "partitions"),
        ({"partitions": 0}, "partitions"),
        ({"window": "1s"}, "window"),
        ({"delay": "soon"}, "delay"),
        ({"partitions": 8, "delay": "1s"}, "delay"),
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
def test_invalid_setting_raises_with_name(settings: dict[str, Any], name: str) -> None:
    """An invalid value is a usage error that names the setting."""
    with pytest.raises(UsageError, match=name):
        SimulatorConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "30 requests/s with a burst of 5"),
        ({"limiter": "fixed-window", "window": "2s"}, "30 requests/s in fixed windows of 2 s"),
        ({"limiter": "sliding-window"}, "30 requests/s in a sliding window of 1 s"),
        ({"partitions": 4}, "30 requests/s in 4 partitions with a burst of 5 in all"),
        ({"delay": "250ms"}, "30 requests/s in a sliding window of 1 s, counted 0.25 s late"),
        ({"limiter": "delayed"}, "30 requests/s in a sliding window of 1 s, counted 0.5 s late"),
    ],
)
def test_options_choose_the_limiter(settings: dict[str, Any], expected: str) -> None:
    """The limiter follows from its name or from the parameter that only it has."""
    config = SimulatorConfig(**settings)
    assert config.limiter_spec().describe(config.rate, config.burst) == expected


def test_secret_key_is_hidden() -> None:
    """Neither the repr nor the control API shows the secret key."""
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
def test_control_api_invalid_request_gets_message(method: str, path: str, body: bytes, status: int) -> None:
    """An invalid request under /_sim gets a message and changes nothing."""
    simulated = make_service(rate=30.0, fault=("500",))
    response = handle_control_request(simulated, Request(method, path, {}, body), 1000.0)
    assert response.status == status
    assert response_json(response)["message"]
    assert (simulated.quota.rate, len(simulated.faults.specs)) == (30.0, 1)
