"""Tests of asyncgg.transport.responses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.models import Accepted, ErrorResponse, NoResponse
from asyncgg.transport.responses import HttpResponse, parse_batch_response, parse_retry_after

THINGS = ("a", "b")

json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.sampled_from(THINGS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["errorEntries", "thingName", "code", "message", "fields", "name", "__type", "x"]), inner
        )
    ),
    max_leaves=8,
)
headers = st.dictionaries(
    st.sampled_from(["content-length", "retry-after", "date", "x-amzn-errortype", "x-amzn-requestid"]),
    st.text(max_size=8) | st.sampled_from(["0", "nan", "-1e999", "Thu, 01 Jan 2026 00:00:00 GMT"]),
)


@settings(max_examples=60, deadline=None)
@given(
    status=st.sampled_from([200, 201, 301, 400, 429, 500]),
    headers=headers,
    body=st.binary(max_size=20) | json_values.map(lambda value: json.dumps(value).encode()),
)
def test_parse_batch_response_any_bytes_give_reply(status: int, headers: dict[str, str], body: bytes) -> None:
    """No bytes raise, and a success is a 200 with a JSON object about requested things."""
    reply = parse_batch_response(HttpResponse(status, headers, body), THINGS, now=0.0)
    if isinstance(reply, Accepted):
        assert status == 200
        members: Any = json.loads(body) if body else {}
        assert isinstance(members, dict)
        assert len(reply.errors) == len(members.get("errorEntries") or ())
        assert {error.thing for error in reply.errors} <= set(THINGS)
    elif isinstance(reply, ErrorResponse):
        assert reply.status == status >= 300
        assert reply.code
        assert status == 429 or reply.code != str(status)
        assert reply.retry_after is None or 0 <= reply.retry_after < float("inf")
    else:
        assert isinstance(reply, NoResponse)
        assert (reply.kind, reply.sent) == ("garbage" if status in {200, 201} else "foreign", True)


@pytest.mark.parametrize(
    ("value", "date", "expected"),
    [
        ("", "", None),
        ("nan", "", None),
        ("inf", "", None),
        (" 4 ", "", 4.0),
        ("1e2", "", 100.0),
        ("Thu, 01 Jan 1970 00:00:40 GMT", "", 30.0),
        ("Thu, 01 Jan 1970 00:00:40 GMT", "Thu, 01 Jan 1970 00:00:15 GMT", 25.0),
        ("Thu, 01 Jan 1970 00:00:40 GMT", "yesterday", 30.0),
        ("Thu, 01 Jan 1970 00:00:05 GMT", "", 0.0),
        ("Thu, 99 Jan 1970 00:00:40 GMT", "", None),
    ],
)
def test_parse_retry_after(value: str, date: str, expected: float | None) -> None:
    """A date is relative to the Date of the response, or else to `now`."""
    assert parse_retry_after({"retry-after": value, "date": date}, now=10.0) == expected


def test_parse_batch_response_escapes_unpaired_surrogates() -> None:
    """Unpaired surrogates are escaped, because the journal cannot store them."""
    entry = parse_batch_response(
        HttpResponse(
            200,
            {"x-amzn-requestid": "a\udc80"},
            b'{"errorEntries":[{"thingName":"t","code":"X\\ud800","message":"\\udfff \xc3\xa4"}]}',
        ),
        ["t"],
        0.0,
    )
    assert isinstance(entry, Accepted)
    assert (entry.errors[0].code, entry.errors[0].message, entry.request_id) == (
        "X\\ud800",
        "\\udfff \u00e4",
        "a\\udc80",
    )
    error = parse_batch_response(HttpResponse(500, {}, b'{"message":"\\ud800","code":"X"}'), ["t"], 0.0)
    assert isinstance(error, ErrorResponse)
    assert error.message == "\\ud800"
