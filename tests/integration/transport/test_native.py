"""Tests of asyncgg.transport.native, request_template and clock_offset."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from aiobotocore import httpsession
from aiobotocore.httpsession import AIOHTTPSession
from aioresponses import aioresponses
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncgg.classify import ReplyVerdict, classify
from asyncgg.errors import InternalError
from asyncgg.models import Accepted, ErrorResponse
from asyncgg.simulator import FleetSpec, Simulator, SimulatorConfig
from asyncgg.transport import ConnectionConfig, factory, open_transport
from asyncgg.transport.native import NativeTransport, _TracedRequest, open_native_transport
from asyncgg.transport.request_template import PLACEHOLDER, encode_body, from_signed_request
from asyncgg.transport.sdk import SdkTransport
from asyncgg.transport.signing import REQUEST_EXPIRED, clock_offset
from tests.support.scripted_server import ReceivedRequest, ScriptedServer, respond

from .conftest import SECRET_KEY, THINGS
from .test_config import CONFIG
from .test_contract_mocked import MockedResponse

DATE = "Thu, 01 Jan 1970 01:00:00 GMT"
HOUR = 3600.0

# --- the request template ---


@settings(max_examples=300, deadline=None)
@given(things=st.lists(st.text(max_size=5) | st.sampled_from(["a:b", 'a"', "a\\", "\n", "é", "\ud800"]), min_size=1))
@example(things=["x" * 128] * 100)
def test_encode_body_escapes_any_name(things: list[str]) -> None:
    """Invalid names are escaped too, so that no name can change the body."""
    assert json.loads(encode_body(things)) == {"entries": [{"thingName": thing} for thing in things]}


async def test_native_request_equals_sdk_request(server: ScriptedServer, keys: None) -> None:
    """The requests differ only in the date and the attempt numbers of the SDK."""
    for kind in ("sdk", "native"):
        async with open_transport(ConnectionConfig(endpoint_url=f"{server.url}/base"), kind=kind) as transport:
            await transport.send("core:1", THINGS)
    sdk, native = server.requests
    assert (native.method, native.path) == (sdk.method, sdk.path)
    assert json.loads(native.body) == json.loads(sdk.body)
    native_headers, sdk_headers = dict(native.headers), dict(sdk.headers)
    for headers in (native_headers, sdk_headers):
        signature = headers.pop("authorization").partition(", ")[2].partition(", Signature=")
        headers["signed"] = signature[0]
        for varying in ("x-amz-date", "content-length"):
            assert headers.pop(varying)
    assert sdk_headers.pop("amz-sdk-request")
    assert sdk_headers.pop("amz-sdk-invocation-id")
    assert native_headers == sdk_headers


@pytest.mark.parametrize(
    ("env", "url", "scope"),
    [
        ({"use_fips": "yes"}, "https://greengrass-fips.eu-west-1.amazonaws.com", "eu-west-1"),
        ({}, "https://greengrass.eu-west-1.amazonaws.com", "eu-west-1"),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "https://greengrass-fips.eu-west-1.amazonaws.com", "eu-west-1"),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "https://greengrass.eu-west-1.api.aws", "eu-west-1"),
        ({"AWS_PROFILE": "china"}, "https://greengrass.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ({"AWS_PROFILE": "gov"}, "https://greengrass.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ({"AWS_PROFILE": "own"}, "http://green.example:2", "eu-central-1"),
        ({"AWS_ENDPOINT_URL": "http://env.example/base"}, "http://env.example/base", "eu-west-1"),
    ],
)
async def test_native_url_and_region_follow_configuration(
    home: Path, keys: None, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], url: str, scope: str
) -> None:
    """Endpoint and Region come from the rule set, the profile or the environment."""
    (home / "config").write_text(CONFIG)
    connection = ConnectionConfig(use_fips="use_fips" in env or None)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    address = f"{url}/greengrass/v2/coreDevices/core/disassociateClientDevices"
    with aioresponses() as mocked:
        mocked.post(address, payload={}, response_class=MockedResponse)
        async with open_transport(connection, kind="native") as transport:
            assert await transport.send("core", THINGS) == Accepted()
        ((call,),) = mocked.requests.values()
    assert f"/{scope}/greengrass/aws4_request" in call.kwargs["headers"]["Authorization"]


SIGNED = "AWS4-HMAC-SHA256 Credential=K/20260101/r/greengrass/aws4_request, SignedHeaders=host, Signature=0"


@pytest.mark.parametrize(
    ("url", "authorization", "message"),
    [
        (f"http://h/{PLACEHOLDER}", "Bearer token", "Signature Version 4"),
        (f"http://h/{PLACEHOLDER}", SIGNED.replace("AWS4-HMAC", "AWS4-ECDSA-P256"), "Signature Version 4"),
        ("http://h/", SIGNED, "addresses"),
        (f"http://{PLACEHOLDER}.h/", SIGNED, "addresses"),
        (f"http://h/{PLACEHOLDER}?x=1", SIGNED, "addresses"),
    ],
)
def test_from_signed_request_unknown_form_raises(url: str, authorization: str, message: str) -> None:
    """Another signature or path of the SDK is an error."""
    with pytest.raises(ValueError, match=message):
        from_signed_request(url, {"Authorization": authorization})


async def test_send_untraced_aiohttp_raises_internal_error(
    server: ScriptedServer, keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If aiohttp bypasses the trace, no request is reported as not sent."""
    monkeypatch.setattr(_TracedRequest, "send", aiohttp.ClientRequest.send)
    async with open_transport(ConnectionConfig(endpoint_url=server.url), kind="native") as transport:
        with pytest.raises(InternalError, match="--transport sdk"):
            await transport.send("core", THINGS)


# --- the clock ---


def _error_response(code: str = "InvalidSignatureException", status: int = 403) -> ErrorResponse:
    return ErrorResponse(status, code, "m")


@pytest.mark.parametrize(
    ("reply", "date", "offset", "expected"),
    [
        (_error_response(), DATE, 0.0, HOUR),
        (_error_response("RequestTimeTooSkewed"), DATE, -HOUR, HOUR),
        (_error_response(), DATE, HOUR, None),
        (_error_response(), DATE, HOUR - 59, None),
        (_error_response(), DATE, HOUR + 61, HOUR),
        (_error_response(), "", 0.0, None),
        (_error_response(), "yesterday", 0.0, None),
        (_error_response("AccessDeniedException"), DATE, 0.0, None),
        (_error_response("ExpiredTokenException"), DATE, 0.0, None),
        (_error_response(status=400), DATE, 0.0, None),
    ],
)
def test_clock_offset_requires_signature_error_and_distant_date(
    reply: ErrorResponse, date: str, offset: float, expected: float | None
) -> None:
    """Only a 403 for the signature with a date far from the request gives an offset."""
    assert clock_offset(reply, {"date": date}, now=0.0, offset=offset) == expected


def _fixed_clock(ahead: float) -> Callable[[], float]:
    return lambda: time.time() + ahead


@pytest.mark.parametrize("ahead", [-2 * HOUR, 10 * 60.0])
async def test_send_wrong_clock_is_corrected(keys: None, ahead: float) -> None:
    """The first rejection sets the offset, and the retry succeeds with the same credentials."""
    spec = FleetSpec.from_things({"core": ["a"]}, now=0.0)
    config = SimulatorConfig(latency_ms=0, rate=float("inf"), secret_key=SECRET_KEY, max_clock_skew=300)
    async with (
        Simulator(config, fleet_spec=spec) as simulator,
        open_native_transport(ConnectionConfig(endpoint_url=simulator.url), clock=_fixed_clock(ahead)) as transport,
    ):
        reply = await transport.send("core", ("a",))
        assert isinstance(reply, ErrorResponse)
        assert (reply.status, reply.code) == (403, REQUEST_EXPIRED)
        assert "InvalidSignatureException: Signature" in reply.message
        match = re.search(r"(\d+) s (ahead|behind)", reply.message)
        assert match is not None
        assert int(match[1]) == pytest.approx(abs(ahead), abs=5)
        assert match[2] == ("ahead" if ahead > 0 else "behind")
        assert classify(reply, "core", ("a",)) is ReplyVerdict.CREDENTIALS_EXPIRED
        generation = transport._source.generation
        await transport.refresh()
        assert transport._source.generation == generation
        assert isinstance(await transport.send("core", ("a",)), Accepted)
        await transport.refresh()
        assert transport._source.generation == generation + 1


async def test_late_clock_rejection_does_not_prevent_renewal(server: ScriptedServer, keys: None) -> None:
    """A second request with the old date, rejected after the refresh, does not affect renewals."""
    late = asyncio.Event()
    rejection = respond(403, {"message": "m"}, {"x-amzn-errortype": "InvalidSignatureException", "Date": DATE})

    async def respond_late(request: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
        await late.wait()
        await rejection(request, writer)

    server.set_script(respond_late, rejection, respond())
    async with open_native_transport(ConnectionConfig(endpoint_url=server.url), clock=lambda: 0.0) as transport:
        sending = asyncio.create_task(transport.send("core", THINGS))
        await asyncio.wait_for(server.request_received.wait(), 2)
        replies = [await transport.send("core", THINGS)]
        await transport.refresh()
        late.set()
        replies.append(await sending)
        assert [reply.code for reply in replies if isinstance(reply, ErrorResponse)] == [REQUEST_EXPIRED] * 2
        assert await transport.send("core", THINGS) == Accepted()
        await transport.refresh()
        assert transport._source.generation == 1


async def test_send_second_rejection_is_unchanged(server: ScriptedServer, keys: None) -> None:
    """If the service rejects the corrected date too, its error is unchanged."""
    rejection = respond(403, {"message": "m"}, {"x-amzn-errortype": "InvalidSignatureException", "Date": DATE})
    server.set_script(rejection)
    async with open_native_transport(ConnectionConfig(endpoint_url=server.url), clock=lambda: 0.0) as transport:
        codes = [await transport.send("core", THINGS) for _ in range(3)]
    assert [reply.code for reply in codes if isinstance(reply, ErrorResponse)] == [
        REQUEST_EXPIRED,
        "InvalidSignatureException",
        "InvalidSignatureException",
    ]
    dates = [request.headers["x-amz-date"] for request in server.requests]
    assert dates == ["19700101T000000Z", "19700101T010000Z", "19700101T010000Z"]


class _ForeignSession:
    """A session of a library that has changed."""


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.delattr(AIOHTTPSession, "_create_connector"),
        lambda patch: patch.setattr(AIOHTTPSession, "_create_connector", lambda self, url, pool: None),
        lambda patch: patch.delattr(aiohttp.ClientRequest, "send"),
        lambda patch: patch.setattr(httpsession, "ProxyConfiguration", lambda *args, **kwargs: _ForeignSession()),
    ],
    ids=["removed", "other arguments", "other request", "other proxies"],
)
async def test_open_with_changed_library_falls_back_to_sdk(
    change: Callable[[pytest.MonkeyPatch], None],
    keys: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`native` becomes `sdk` before anything is sent, with one warning for all openings."""
    factory._warn_of_fallback.cache_clear()
    change(monkeypatch)
    for _ in range(2):
        async with open_transport(ConnectionConfig(endpoint_url="http://127.0.0.1:9"), kind="native") as transport:
            assert isinstance(transport, SdkTransport)
    (record,) = caplog.records
    assert "do not allow --transport native" in record.getMessage()


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_connector_of_each_version_is_used(
    asynchronous: bool, keys: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """aiobotocore makes the connector in a function or, later, in a coroutine."""
    connectors: list[aiohttp.TCPConnector] = []

    def create(self: object, proxy_url: str | None) -> aiohttp.TCPConnector:
        connectors.append(aiohttp.TCPConnector())
        return connectors[-1]

    async def create_later(self: object, proxy_url: str | None) -> aiohttp.TCPConnector:
        return create(self, proxy_url)

    monkeypatch.setattr(AIOHTTPSession, "_create_connector", create_later if asynchronous else create)
    async with open_transport(ConnectionConfig(endpoint_url="http://127.0.0.1:9"), kind="native") as transport:
        assert isinstance(transport, NativeTransport)
    assert len(connectors) == 1
    assert not caplog.records
