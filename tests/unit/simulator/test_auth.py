"""Rule: which signatures the simulator accepts; botocore's signer is the oracle."""

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
def test_what_botocore_signs_is_accepted(request_: Request) -> None:
    """With the secret known, every request that botocore signed passes the check of its signature."""
    assert error_code(make_service(secret_key=SECRET_KEY).handle(request_, 1000.0)) in (
        "",
        "ValidationException",
        "ResourceNotFoundException",
    )


@pytest.mark.parametrize(
    "spoil",
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
def test_a_changed_request_is_refused(spoil: object) -> None:
    """A request that differs from what was signed is not accepted, and changes nothing."""
    assert callable(spoil)
    simulated = make_service(secret_key=SECRET_KEY)
    answer = simulated.handle(spoil(batch_request("core-1", ["a"])), 1000.0)
    assert (answer.status, error_code(answer)) == (403, "InvalidSignatureException")
    assert "a" in simulated.fleet.things["core-1"]
    assert simulated.counters.unsigned == 1


def test_another_secret_is_refused() -> None:
    """A signature of another secret key is not accepted; without a secret set, only the form counts."""
    assert (
        error_code(make_service(secret_key="another").handle(signed_request("GET", GET), 1000.0))
        == "InvalidSignatureException"
    )
    assert make_service().handle(signed_request("GET", GET), 1000.0).status == 200


def signed_without(part: str) -> Request:
    """A signed request whose Authorization header lacks one of its parts."""
    request = signed_request("GET", GET)
    parts = [p for p in request.headers["authorization"].split(", ") if part not in p]
    return replace(
        request, headers={**request.headers, "authorization": ", ".join(parts).replace("HMAC-SHA256,", "HMAC-SHA256 ")}
    )


def signed_and_altered(old: str, new: str) -> Request:
    """A signed request with a changed Authorization header."""
    request = signed_request("GET", GET)
    assert old in request.headers["authorization"]
    return replace(
        request, headers={**request.headers, "authorization": request.headers["authorization"].replace(old, new)}
    )


@pytest.mark.parametrize(
    ("request_", "code", "word"),
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
def test_what_is_not_signed_in_form_is_refused(request_: Request, code: str, word: str) -> None:
    """Each missing or wrong part gets 403 and a sentence, and costs no quota."""
    simulated = make_service(rate=1.0, burst=1.0)
    answer = simulated.handle(request_, 1000.0)
    assert (answer.status, error_code(answer)) == (403, code)
    assert word in response_json(answer)["message"]
    assert simulated.counters.admitted == 0
    assert simulated.handle(signed_request("GET", GET), 1000.0).status == 200


@pytest.mark.parametrize("value", [None, "yesterday", "20260101", "20260101T000000Z"])
def test_the_date_must_be_there_and_agree(value: str | None) -> None:
    """X-Amz-Date in its one form and of the credential's day is needed."""
    request = signed_request("GET", GET)
    headers = {name: text for name, text in request.headers.items() if name != "x-amz-date"}
    answer = make_service().handle(replace(request, headers=headers | ({"x-amz-date": value} if value else {})), 1000.0)
    assert error_code(answer) == "InvalidSignatureException"


@pytest.mark.parametrize(("late", "code"), [(-400.0, "not yet"), (400.0, "expired"), (200.0, ""), (-200.0, "")])
def test_the_clock_may_be_wrong_by_so_much(late: float, code: str) -> None:
    """With a largest skew set, requests dated outside of it are refused with a sentence that says which way."""
    request = signed_request("GET", GET)
    stamp = "20260102T030405Z"
    changed = request.headers["authorization"].replace(request.headers["x-amz-date"][:8], stamp[:8])
    request = replace(request, headers={**request.headers, "x-amz-date": stamp, "authorization": changed})
    answer = make_service(max_clock_skew=300.0).handle(request, 1767323045.0 + late)
    assert (code in response_json(answer)["message"]) if code else answer.status == 200
