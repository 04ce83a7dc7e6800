"""Tests of asyncgg.transport.signing with botocore as the reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from asyncgg.transport import signing
from asyncgg.transport.request_template import PLACEHOLDER, RequestTemplate, encode_body, from_signed_request
from asyncgg.transport.signing import canonical_path, sign

KEYS = ReadOnlyCredentials("AKIDEXAMPLE", "a test secret key", None)

names = st.text("aZ9:_-", min_size=1, max_size=20)
texts = st.text("Az0+/=", min_size=1, max_size=12)
regions = st.sampled_from(["eu-west-1", "cn-north-1", "us-gov-east-1", "us-iso-east-1", "ap-southeast-7"])
times = st.floats(0, 4e9, allow_nan=False) | st.sampled_from([0.0, 86399.999, 86400.0, 1709251199.5, 4102444800.0])
origins = st.sampled_from(
    [
        "https://greengrass.eu-west-1.amazonaws.com",
        "https://greengrass-fips.us-gov-west-1.api.aws:443",
        "http://127.0.0.1:8765",
        "http://LocalHost:80/base",
        "http://[::1]:8080/a~b/./c//d/../e",
        "https://h.example:8443/base%20path/",  # a doubled slash follows
    ]
)


@dataclass
class SettableClock:
    """A replacement of the clock of botocore."""

    now: float = 0.0

    def __call__(self) -> datetime:
        """Get the current time."""
        return datetime.fromtimestamp(int(self.now), UTC)


@pytest.fixture(scope="module")
def clock() -> Iterator[SettableClock]:
    """The settable clock of botocore."""
    with patch("botocore.auth.get_current_datetime", SettableClock()) as clock:
        yield clock


def _sign_with_botocore(keys: ReadOnlyCredentials, region: str, url: str, extra: str, body: bytes) -> AWSRequest:
    headers = {"Content-Type": "application/json", "User-Agent": extra, "X-Amz-Extra": extra, "X-Later": extra}
    request = AWSRequest(method="POST", url=url, data=body, headers=headers)
    SigV4Auth(keys, "greengrass", region).add_auth(request)
    return request


@cache
def _request_template(origin: str, region: str, extra: str) -> RequestTemplate:
    url = f"{origin}/greengrass/v2/coreDevices/{PLACEHOLDER}/disassociateClientDevices"
    first = _sign_with_botocore(KEYS, region, url, extra, b"{}")
    return from_signed_request(url, dict(first.headers.items()))


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@example(
    "x:-_Z9" * 21, ["a:b"], "secret" * 7, "token", "eu-west-1", 1.7e9, "http://[::1]:8080/a~b/./c//d/../e", "agent/1"
)
@given(
    core=names,
    things=st.lists(names, min_size=1, max_size=3) | st.just([f"client-device-{i:03}" for i in range(100)]),
    secret=texts,
    token=st.none() | texts,
    region=regions,
    time=times,
    origin=origins,
    extra=st.sampled_from(["agent/1", " two   blanks ", "{0} {{x}}"]),
)
def test_sign_equals_botocore(
    clock: SettableClock,
    core: str,
    things: list[str],
    secret: str,
    token: str | None,
    region: str,
    time: float,
    origin: str,
    extra: str,
) -> None:
    """Headers and signature of every request equal those of botocore."""
    template = _request_template(origin, region, extra)
    clock.now = time
    keys = ReadOnlyCredentials("AKIA" + core[:4], secret, token)
    body, path = encode_body(things), template.path(core)
    url = f"{origin}/greengrass/v2/coreDevices/{core.replace(':', '%3A')}/disassociateClientDevices"
    botocore_headers = _sign_with_botocore(keys, region, url, extra, body)
    signature_headers = sign(keys, template.region, template.service, "POST", path, template.signed_headers, body, time)
    signed_headers = {**template.unsigned_headers, **template.signed_headers, **signature_headers}
    assert signed_headers.pop("Accept-Encoding") == "identity"
    host = signed_headers.pop("Host")
    assert signed_headers == dict(botocore_headers.headers.items())
    assert url.lower().startswith((f"http://{host}", f"https://{host}"))
    assert url.endswith(path)


@settings(max_examples=300, deadline=None)
@given(path=st.lists(st.sampled_from(["", ".", "..", "a", "b:c", "%3A", "%25", "é", "~-_.", "x y", "+"])).map("/".join))
@example(path="")
@example(path="/")
@example(path="/..")
def test_canonical_path_equals_botocore(path: str) -> None:
    """Dot segments, double slashes and escapes are converted as in botocore."""
    path = f"/{path}" if path else path
    oracle: Any = SigV4Auth(KEYS, "s", "r")
    assert canonical_path(path) == oracle._normalize_url_path(path)


@pytest.mark.parametrize(
    "change",
    [
        {"credentials": ReadOnlyCredentials("AKIDEXAMPLE", "another secret", None)},
        {"credentials": ReadOnlyCredentials("AKIDEXAMPLE", KEYS.secret_key, "token")},
        {"region": "eu-west-2"},
        {"service": "iot"},
        {"method": "GET"},
        {"path": "/other"},
        {"headers": {"Host": "other"}},
        {"body": b"[]"},
        {"time": 1.7e9 + 1},
        {"time": 1.7e9 + 86400},
    ],
    ids=lambda change: next(iter(change)),
)
def test_sign_depends_on_every_argument(change: dict[str, object]) -> None:
    """A change of any part of a request, also with a cached key, changes the signature."""
    request: dict[str, object] = {
        "credentials": KEYS,
        "region": "eu-west-1",
        "service": "greengrass",
        "method": "POST",
        "path": "/",
        "headers": {"Host": "h"},
        "body": b"{}",
        "time": 1.7e9,
    }
    signatures = [sign(**arguments)["Authorization"] for arguments in (request, request | change, request)]  # type: ignore[arg-type]  # a table of different types
    assert signatures[0] == signatures[2]
    assert signatures[0].rpartition("=")[2] != signatures[1].rpartition("=")[2]


def test_sign_derives_key_once_per_day() -> None:
    """Requests of one day, secret, Region and service share a key."""
    signing._signing_key.cache_clear()
    for time in (0.0, 1.0, 86399.0, 86400.0):
        sign(KEYS, "eu-west-1", "greengrass", "POST", "/", {"Host": "h"}, b"{}", time)
    assert (signing._signing_key.cache_info().hits, signing._signing_key.cache_info().misses) == (2, 2)
