"""Signed requests and simulators for tests."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from asyncgg.simulator import FleetSpec, Request, Response, Service, Simulator, SimulatorConfig

CORE_DEVICES_PATH = "/greengrass/v2/coreDevices"
ENDPOINT = "http://127.0.0.1:1"
SECRET_KEY = "a test secret key"
SMALL_FLEET = FleetSpec.from_things({"core-1": ["a", "b", "c"], "core-2": ["d"], "core:3": []}, now=1000.0)


def signed_request(
    method: str,
    target: str,
    body: bytes = b"",
    *,
    key: str = "AKIDEXAMPLE",
    service: str = "greengrass",
    endpoint: str = ENDPOINT,
    headers: dict[str, str] | None = None,
    token: str | None = None,
) -> Request:
    """Sign a request with botocore and convert it to a request of the simulator."""
    raw: Any = AWSRequest(method=method, url=endpoint + target, data=body, headers=headers or {})
    SigV4Auth(Credentials(key, SECRET_KEY, token), service, "eu-west-1").add_auth(raw)
    prepared = raw.prepare()
    sent = {name.lower(): value if isinstance(value, str) else value.decode() for name, value in raw.headers.items()}
    sent.setdefault("host", endpoint.removeprefix("http://"))
    return Request(method, prepared.url.removeprefix(endpoint), sent, body)


def batch_request(
    core: str, things: Sequence[str], action: str = "disassociateClientDevices", **options: Any
) -> Request:
    """Sign a batch request; `core` must be encoded for the path."""
    body = json.dumps({"entries": [{"thingName": thing} for thing in things]}).encode()
    return signed_request("POST", f"{CORE_DEVICES_PATH}/{core}/{action}", body, **options)


def make_service(fleet_spec: FleetSpec = SMALL_FLEET, **settings: Any) -> Service:
    """Create a service, by default with a small fleet and without latency and quota."""
    config = SimulatorConfig(**{"latency_ms": 0.0, "rate": float("inf"), **settings})
    return Service(config, fleet_spec=fleet_spec, now=1000.0)


def response_json(response: Response) -> Any:
    """Parse the body of a response."""
    return json.loads(response.body)


def error_code(response: Response) -> str:
    """Get the error code of a response, empty without an error."""
    return response.headers.get("x-amzn-ErrorType", "")


def fast_config(**settings: Any) -> SimulatorConfig:
    """Create a configuration, by default without latency and quota."""
    return SimulatorConfig(**{"latency_ms": 0.0, "rate": float("inf"), **settings})


@contextmanager
def threaded_simulator(config: SimulatorConfig, fleet_spec: FleetSpec | None = SMALL_FLEET) -> Iterator[Simulator]:
    """Run a simulator in a thread, for synchronous clients."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    simulator = Simulator(config, fleet_spec=fleet_spec)
    try:
        asyncio.run_coroutine_threadsafe(simulator.start(), loop).result(10)
        yield simulator
    finally:
        asyncio.run_coroutine_threadsafe(simulator.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
