"""Tests of asyncgg.simulator.auth with the signer of botocore."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asyncgg.simulator import Request
from tests.support.simulator import (
    CORE_DEVICES_PATH,
    SECRET_KEY,
    batch_request,
    error_code,
    make_service,
    response_json,
    signed_request,
)

GET = f"{CORE_DEVICES_PATH}?status=HEALTHY&maxResults=3"


@pytest.mark.parametrize(
    "request_",
    [
        batch_request("core-1", ["a"]),
        batch_request("core%3A3", ["a"]),
        batch_request("core-1", ["a"], token="a session token"),
        batch_request("core-1", ["a"], headers={"Content-Type": "application/json", "X-Amz-Meta": " two   blanks "}),
        signed_request("GET", GET),
        signed_request(
            "GET",
            f"{CORE_DEVICES_PATH}?thingGroupArn=arn%3Aaws%3Aiot%3Aeu-west-1%3A1%3Athinggroup%2Fsite%201&maxResults=3",
        ),
        signed_request("GET", f"{CORE_DEVICES_PATH}?nextToken=&maxResults=3"),
        signed_request("GET", f"{CORE_DEVICES_PATH}/core-1/associatedClientDevices"),
    ],
    ids=lambda request: request.target,
)
def test_signature_of_botocore_is_accepted(request_: Request) -> None:
    """Requests signed by botocore pass the verification."""
    assert error_code(make_service(secret_key=SECRET_KEY).handle(request_, 1000.0)) in (
        "",
        "ValidationException",
        "ResourceNotFoundException",
    )


@pytest.mark.parametrize(
    "alter",
    [
        lambda r: replace(r, body=r.body.replace(b'"a"', b'"b"')),
        lambda r: replace(r, target=r.target.replace("core-1", "core-2")),
        lambda r: replace(r, method="GET", target=f"{CORE_DEVICES_PATH}/core-1/associatedClientDevices"),
        lambda r: replace(r, target=r.target + "?x=1"),
        lambda r: replace(r, headers={**r.headers, "host": "elsewhere"}),
        lambda r: replace(r, headers={k: v for k, v in r.headers.items() if k != "host"}),
    ],
    ids=["body", "path", "method", "query", "host", "no-host"],
)
def test_altered_request_is_rejected(alter: object) -> None:
    """A request that differs from the signed one is rejected and changes nothing."""
    assert callable(alter)
    simulated = make_service(secret_key=SECRET_KEY)
    response = simulated.handle(alter(batch_request("core-1", ["a"])), 1000.0)
    assert (response.status, error_code(response)) == (403, "InvalidSignatureException")
    assert "a" in simulated.fleet.things["core-1"]
    assert simulated.counters.unsigned == 1


def test_signature_with_other_secret_is_rejected() -> None:
    """A wrong secret key is rejected; without a configured secret only the form counts."""
    assert (
        error_code(make_service(secret_key="another").handle(signed_request("GET", GET), 1000.0))
        == "InvalidSignatureException"
    )
    assert make_service().handle(signed_request("GET", GET), 1000.0).status == 200


def signed_without(part: str) -> Request:
    """Sign a request and remove a part of its Authorization header."""
    request = signed_request("GET", GET)
    parts = [p for p in request.headers["authorization"].split(", ") if part not in p]
    return replace(
        request, headers={**request.headers, "authorization": ", ".join(parts).replace("HMAC-SHA256,", "HMAC-SHA256 ")}
    )


def signed_and_altered(old: str, new: str) -> Request:
    """Sign a request and change its Authorization header."""
    request = signed_request("GET", GET)
    assert old in request.headers["authorization"]
    return replace(
        request, headers={**request.headers, "authorization": request.headers["authorization"].replace(old, new)}
    )


@pytest.mark.parametrize(
    ("request_", "code", "message_part"),
    [
        (Request("GET", GET, {}), "MissingAuthenticationTokenException", "Missing"),
        (Request("GET", GET, {"authorization": "Bearer x"}), "MissingAuthenticationTokenException", "Missing"),
        (Request("GET", GET, {"authorization": "AWS4-HMAC-SHA256"}), "InvalidSignatureException", "Credential"),
        (signed_without("SignedHeaders"), "InvalidSignatureException", "SignedHeaders"),
        (signed_without("Signature="), "InvalidSignatureException", "Signature"),
        (signed_and_altered("aws4_request", "aws4"), "InvalidSignatureException", "KEY/DATE"),
        (signed_and_altered("SignedHeaders=host;", "SignedHeaders="), "InvalidSignatureException", "signed headers"),
        (signed_and_altered("Signature=", "Signature=x"), "InvalidSignatureException", "hexadecimal"),
        (signed_request("GET", GET, service="iot"), "InvalidSignatureException", "correct service: 'greengrass'"),
    ],
)
def test_malformed_signature_is_rejected_without_quota(request_: Request, code: str, message_part: str) -> None:
    """A missing or malformed part gets 403 with a message and uses no quota."""
    simulated = make_service(rate=1.0, burst=1.0)
    response = simulated.handle(request_, 1000.0)
    assert (response.status, error_code(response)) == (403, code)
    assert message_part in response_json(response)["message"]
    assert simulated.counters.admitted == 0
    assert simulated.handle(signed_request("GET", GET), 1000.0).status == 200


@pytest.mark.parametrize("value", [None, "yesterday", "20260101", "20260101T000000Z"])
def test_missing_or_different_date_is_rejected(value: str | None) -> None:
    """X-Amz-Date must be valid and match the day of the credential."""
    request = signed_request("GET", GET)
    headers = {name: text for name, text in request.headers.items() if name != "x-amz-date"}
    response = make_service().handle(
        replace(request, headers=headers | ({"x-amz-date": value} if value else {})), 1000.0
    )
    assert error_code(response) == "InvalidSignatureException"


@pytest.mark.parametrize(("late", "message_part"), [(-400.0, "not yet"), (400.0, "expired"), (200.0, ""), (-200.0, "")])
def test_date_beyond_max_clock_skew_is_rejected(late: float, message_part: str) -> None:
    """Requests dated outside of the maximum clock skew are rejected."""
    request = signed_request("GET", GET)
    amz_date = "20260102T030405Z"
    changed = request.headers["authorization"].replace(request.headers["x-amz-date"][:8], amz_date[:8])
    request = replace(request, headers={**request.headers, "x-amz-date": amz_date, "authorization": changed})
    response = make_service(max_clock_skew=300.0).handle(request, 1767323045.0 + late)
    assert (message_part in response_json(response)["message"]) if message_part else response.status == 200
