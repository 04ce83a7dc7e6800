"""Tests of asyncgg.simulator.service, validation and counters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asyncgg.simulator import Request, Service, SimulatorConfig
from tests.support.simulator import (
    CORE_DEVICES_PATH,
    batch_request,
    error_code,
    make_service,
    response_json,
    signed_request,
)

POST = f"{CORE_DEVICES_PATH}/core-1/disassociateClientDevices"


def test_disassociate_removes_associated_things() -> None:
    """Associated things are removed; the others are error entries in their order."""
    simulated = make_service()
    response = simulated.handle(batch_request("core-1", ["x", "a", "d", "c"]), 1001.0)
    assert response.status == 200
    assert [(e["thingName"], e["code"]) for e in response_json(response)["errorEntries"]] == [
        ("x", "ResourceNotFoundException"),
        ("d", "ResourceNotFoundException"),
    ]
    assert simulated.fleet.things == {"core-1": {"b": 1000.0}, "core-2": {"d": 1000.0}, "core:3": {}}
    assert simulated.counters.disassociated == 2


def test_associate_adds_association() -> None:
    """The association has the current time; an existing one is not an error."""
    simulated = make_service()
    response = simulated.handle(batch_request("core%3A3", ["n", "n"], "associateClientDevices"), 1001.0)
    assert response_json(response) == {"errorEntries": []}
    assert simulated.fleet.things["core:3"] == {"n": 1001.0}


@pytest.mark.parametrize(("setting", "entries"), [("success", 0), ("NotAssociated", 1)])
def test_not_found_setting_selects_code(setting: str, entries: int) -> None:
    """`not_found` sets the error code of a thing that is not associated, or no error."""
    errors = response_json(make_service(not_found=setting).handle(batch_request("core-1", ["x"]), 1000.0))[
        "errorEntries"
    ]
    assert [entry["code"] for entry in errors] == [setting] * entries


def test_unknown_core_is_404() -> None:
    """Batches and lists of an unknown core get ResourceNotFoundException with its members."""
    for request in (
        batch_request("missing", ["a"]),
        batch_request("missing", ["a"], "associateClientDevices"),
        signed_request("GET", f"{CORE_DEVICES_PATH}/missing/associatedClientDevices"),
    ):
        response = make_service().handle(request, 1000.0)
        assert (response.status, error_code(response)) == (404, "ResourceNotFoundException")
        assert response_json(response)["resourceId"] == "missing"
        assert response_json(response)["resourceType"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/greengrass/v2/components"),
        ("GET", POST),
        ("POST", CORE_DEVICES_PATH),
        ("POST", f"{CORE_DEVICES_PATH}/core-1"),
        ("DELETE", f"{CORE_DEVICES_PATH}/core-1/associatedClientDevices"),
        ("POST", f"{CORE_DEVICES_PATH}s/core-1/disassociateClientDevices"),
        ("POST", f"{POST}/more"),
    ],
)
def test_unknown_operations_are_404(method: str, path: str) -> None:
    """An unknown path or method gets UnknownOperationException."""
    response = make_service().handle(signed_request(method, path), 1000.0)
    assert (response.status, error_code(response)) == (404, "UnknownOperationException")


def entries(*names: Any) -> bytes:
    """Build a body with these thing names, valid or not."""
    return json.dumps({"entries": [{"thingName": name} for name in names]}).encode()


@pytest.mark.parametrize(
    ("body", "reason", "fields"),
    [
        (b"", "CANNOT_PARSE", ["body"]),
        (b"{", "CANNOT_PARSE", ["body"]),
        (b"\xff\xfe", "CANNOT_PARSE", ["body"]),
        (b"[" * 100_000, "CANNOT_PARSE", ["body"]),
        (b"[]", "CANNOT_PARSE", ["body"]),
        (b"{}", "FIELD_VALIDATION_FAILED", ["entries"]),
        (b'{"entries":null}', "FIELD_VALIDATION_FAILED", ["entries"]),
        (b'{"entries":{"thingName":"a"}}', "CANNOT_PARSE", ["entries"]),
        (b'{"entries":[]}', "FIELD_VALIDATION_FAILED", ["entries"]),
        (entries(*"a" * 101), "FIELD_VALIDATION_FAILED", ["entries"]),
        (b'{"entries":["a"]}', "FIELD_VALIDATION_FAILED", ["entries[0].thingName"]),
        (b'{"entries":[{"thingName":"a"},{}]}', "FIELD_VALIDATION_FAILED", ["entries[1].thingName"]),
        (entries(1), "FIELD_VALIDATION_FAILED", ["entries[0].thingName"]),
        (entries("", "a", "x" * 129), "FIELD_VALIDATION_FAILED", ["entries[0].thingName", "entries[2].thingName"]),
        (entries("a b"), "FIELD_VALIDATION_FAILED", ["entries[0].thingName"]),
        (entries("a\n"), "FIELD_VALIDATION_FAILED", ["entries[0].thingName"]),
        (entries("ä"), "FIELD_VALIDATION_FAILED", ["entries[0].thingName"]),
    ],
)
def test_invalid_batch_is_rejected_whole(body: bytes, reason: str, fields: list[str]) -> None:
    """An invalid batch gets ValidationException with reason and fields and changes nothing."""
    simulated = make_service()
    response = simulated.handle(signed_request("POST", POST, body), 1000.0)
    assert (response.status, error_code(response)) == (400, "ValidationException")
    assert response_json(response)["reason"] == reason
    assert [field["name"] for field in response_json(response)["fields"]] == fields
    assert all(field["message"] for field in response_json(response)["fields"])
    assert len(simulated.fleet) == 4


def test_largest_batch_is_accepted() -> None:
    """100 names of 128 characters are accepted."""
    names = [f"{number:0128d}" for number in range(100)]
    assert len(response_json(make_service().handle(batch_request("core-1", names), 1000.0))["errorEntries"]) == 100


@pytest.mark.parametrize("core", ["x" * 129, "a%20b", "%C3%A4", ""])
def test_invalid_core_name_is_rejected(core: str) -> None:
    """An invalid core name is a validation error, not a missing core."""
    response = make_service().handle(batch_request(core, ["a"]), 1000.0)
    assert (response.status, response_json(response)["fields"][0]["name"]) == (400, "coreDeviceThingName")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("maxResults=0", "maxResults"),
        ("maxResults=101", "maxResults"),
        ("maxResults=x", "maxResults"),
        ("maxResults=", "maxResults"),
        ("nextToken=x", "nextToken"),
        ("nextToken=W10=", "nextToken"),
        ("status=BROKEN", "status"),
        ("status=", "status"),
        ("runtime=", "runtime"),
        ("thingGroupArn=site-1", "thingGroupArn"),
    ],
)
def test_invalid_list_parameter_is_rejected(query: str, field: str) -> None:
    """Every parameter of ListCoreDevices is validated as in the service model."""
    response = make_service().handle(signed_request("GET", f"{CORE_DEVICES_PATH}?{query}"), 1000.0)
    assert (response.status, response_json(response)["fields"][0]["name"]) == (400, field)


def test_pages_list_every_item_once() -> None:
    """Every item is on one page; a token is valid for its list only."""
    simulated = make_service()
    path, token, listed = f"{CORE_DEVICES_PATH}/core-1/associatedClientDevices", "", []
    for _ in range(3):
        page = response_json(simulated.handle(signed_request("GET", f"{path}?maxResults=1{token}"), 1000.0))
        listed += page["associatedClientDevices"]
        token = f"&nextToken={page['nextToken'].replace('=', '%3D')}" if "nextToken" in page else "end"
    assert listed == [{"thingName": name, "associationTimestamp": 1000.0} for name in "abc"]
    assert token == "end"
    page = response_json(simulated.handle(signed_request("GET", f"{CORE_DEVICES_PATH}?maxResults=2"), 1000.0))
    assert [core["coreDeviceThingName"] for core in page["coreDevices"]] == ["core-1", "core-2"]
    token = page["nextToken"].replace("=", "%3D")
    assert (
        simulated.handle(signed_request("GET", f"{CORE_DEVICES_PATH}?status=HEALTHY&nextToken={token}"), 1000.0).status
        == 400
    )


@pytest.mark.parametrize(("setting", "header"), [("none", None), ("auto", "2"), ("7", "7")])
def test_throttled_request_changes_nothing(setting: str, header: str | None) -> None:
    """A request over the quota gets 429 with its members and succeeds later."""
    simulated = make_service(rate=0.5, burst=1.0, retry_after=setting)
    assert simulated.handle(signed_request("GET", CORE_DEVICES_PATH), 1000.0).status == 200
    response = simulated.handle(batch_request("core-1", ["a"]), 1000.0)
    assert (response.status, error_code(response)) == (429, "ThrottlingException")
    assert response_json(response) == {
        "message": "Too Many Requests",
        "quotaCode": "L-7A577824",
        "serviceCode": "greengrass",
    }
    assert response.headers.get("Retry-After") == header
    assert len(simulated.fleet) == 4
    assert simulated.counters.carried == {}
    assert (simulated.counters.throttled, simulated.counters.admitted) == (1, 1)
    assert simulated.handle(batch_request("core-1", ["a"]), 1002.0).status == 200


def test_things_resent_after_success_are_counted() -> None:
    """A thing sent again after its removal is counted, unless it was associated in between."""
    simulated = make_service()
    for request in (batch_request("core-1", ["a"]), batch_request("core-1", ["a", "b"])):
        simulated.handle(request, 1000.0)
    assert simulated.counters.things() == {
        "carried_more_than_once": {"core-1": {"a": 2}},
        "resent_after_success": {"core-1": {"a": 1}},
    }
    simulated.handle(batch_request("core-1", ["b"], "associateClientDevices"), 1000.0)
    simulated.handle(batch_request("core-1", ["b"]), 1000.0)
    assert simulated.counters.resent == {"core-1": {"a": 1}}


def test_delay_has_latency_jitter_and_slow_fault() -> None:
    """The delay is the latency, a random time with the mean `jitter_ms` and the delay of `slow`."""
    assert make_service(latency_ms=80.0).handle(
        signed_request("GET", CORE_DEVICES_PATH), 1000.0
    ).delay == pytest.approx(0.08)
    simulated = make_service(latency_ms=100.0, jitter_ms=50.0)
    delays = [simulated.handle(Request("GET", CORE_DEVICES_PATH, {}), 1000.0).delay for _ in range(2000)]
    assert min(delays) >= 0.1
    assert sum(delays) / len(delays) == pytest.approx(0.15, rel=0.1)
    assert make_service(fault=("slow:3", "500")).handle(signed_request("GET", CORE_DEVICES_PATH), 1000.0).delay == 3.0


def test_identity_uses_no_quota() -> None:
    """GetCallerIdentity works by form and by query and must be signed for sts."""
    simulated = make_service(rate=1.0, burst=1.0, account="210987654321", fault=("expired-token@OLD",))
    form = b"Action=GetCallerIdentity&Version=2011-06-15"
    for request in (
        signed_request("POST", "/", form, service="sts"),
        signed_request("GET", f"/?{form.decode()}", service="sts"),
    ):
        response = simulated.handle(request, 1000.0)
        assert response.status == 200
        assert b"<Account>210987654321</Account>" in response.body
    for request, code in (
        (signed_request("POST", "/", form), b"<Code>InvalidSignature</Code>"),
        (signed_request("POST", "/", form, service="sts", key="OLD"), b"<Code>ExpiredToken</Code>"),
        (signed_request("POST", "/", b"Action=AssumeRole", service="sts"), b"<Code>InvalidAction</Code>"),
    ):
        assert code in simulated.handle(request, 1000.0).body
    assert simulated.handle(signed_request("GET", CORE_DEVICES_PATH), 1000.0).status == 200


def test_every_response_has_unique_request_id() -> None:
    """Every response has its own x-amzn-RequestId, also errors."""
    simulated = make_service()
    requests = [
        signed_request("GET", CORE_DEVICES_PATH),
        Request("GET", CORE_DEVICES_PATH, {}),
        signed_request("GET", "/other"),
        Request("POST", "/", {}),
    ]
    assert len({simulated.handle(request, 1000.0).headers["x-amzn-RequestId"] for request in requests}) == 4


def test_counters_and_log_have_every_request() -> None:
    """Requests are counted by operation, status and code and have one log entry each."""
    simulated = make_service(rate=1.0, burst=2.0)
    for request in (
        batch_request("core-1", ["a", "x"]),
        batch_request("missing", ["a"]),
        signed_request("GET", CORE_DEVICES_PATH),
        Request("GET", CORE_DEVICES_PATH, {}),
    ):
        simulated.handle(request, 1000.0)
    summary = simulated.counters.summary()
    assert summary["requests"] == {"BatchDisassociateClientDeviceFromCoreDevice": 2, "ListCoreDevices": 2}
    assert summary["statuses"] == {"200": 1, "403": 1, "404": 1, "429": 1}
    assert (summary["total"], summary["admitted"], summary["throttled"], summary["unsigned"]) == (4, 2, 1, 1)
    assert summary["entry_codes"] == {"ResourceNotFoundException": 1}
    assert summary["things"]["carried"] == 3
    rows = [(row.core, row.entries, row.status, row.code) for row in simulated.counters.log]
    assert rows == [
        ("core-1", 2, 200, ""),
        ("missing", 1, 404, "ResourceNotFoundException"),
        ("", 0, 429, "ThrottlingException"),
        ("", 0, 403, "MissingAuthenticationTokenException"),
    ]


def test_generated_fleet_follows_settings_and_reset() -> None:
    """The fleet is generated from the settings, and reset restores it."""
    simulated = Service(SimulatorConfig(cores=4, things=5, missing_things=3, missing_cores=1, rate=float("inf")))
    core = next(iter(simulated.fleet.cores))
    simulated.handle(batch_request(core, list(simulated.fleet.things[core])), 0.0)
    assert len(simulated.fleet) == 15
    simulated.reset(1.0)
    assert len(simulated.fleet) == 20
    assert simulated.counters.admitted == 0
    assert len(list(simulated.fleet_spec.pairs())) == 20 + 3 + 5
