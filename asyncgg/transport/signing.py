"""Signs requests with Signature Version 4; only the native transport uses it."""

# Pure: no clock, no environment. botocore's signer takes five times as long (42 microseconds): it
# builds a request object, writes four debug lines and derives the signing key for each request. The
# tests compare with it. [AWS: Signature Version 4; canonical path and headers as in
# botocore.auth.SigV4Auth]

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from time import gmtime, strftime
from typing import Final
from urllib.parse import quote

from botocore.credentials import ReadOnlyCredentials

from asyncgg.models import ErrorResponse
from asyncgg.transport.responses import parse_http_date

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_CHUNK_SIZE: Final = 2_000
_PLAIN_PATH: Final = re.compile("(?:/[a-zA-Z0-9_~-]+)+")
"""Paths that are canonical: no percent sign, dot or empty segment."""

REQUEST_EXPIRED: Final = "RequestExpired"
"""AWS's code for a request rejected only for its date [AWS: common errors]."""
_SIGNATURE_ERROR_CODES: Final = frozenset(
    {
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "RequestTimeTooSkewed",
        "RequestInTheFuture",
        "AuthFailure",
        REQUEST_EXPIRED,
    }
)
_MIN_OFFSET: Final = 60.0
"""Seconds; a smaller difference can be the latency of the response and causes no rejection."""


def sign(
    credentials: ReadOnlyCredentials,
    region: str,
    service: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    time: float,
    query: str = "",
) -> dict[str, str]:
    """Build the headers X-Amz-Date, Authorization and, with a session token, X-Amz-Security-Token.

    `path` and `query` must be encoded as they are sent, the query sorted by name. `headers` are the
    ones to sign and must include Host. `time` is the date of the request in seconds since 1970.
    """
    amz_date = _format_date(int(time // 1))
    signature_headers = {"X-Amz-Date": amz_date}
    if credentials.token:
        signature_headers["X-Amz-Security-Token"] = credentials.token
    signed_names, header_format = _canonical_headers(tuple(headers.items()), tuple(signature_headers))
    canonical_headers = header_format.format(*[_trim_spaces(value) for value in signature_headers.values()])
    canonical_request = (
        f"{method}\n{canonical_path(path)}\n{query}\n{canonical_headers}\n{signed_names}\n{_sha256(body)}"
    )
    scope = f"{amz_date[:8]}/{region}/{service}/aws4_request"
    string_to_sign = f"{_ALGORITHM}\n{amz_date}\n{scope}\n{_sha256(canonical_request.encode())}"
    # hmac.digest releases the GIL, which costs 30 microseconds while the journal thread runs; a
    # copy costs 2.
    mac = _signing_key(credentials.secret_key, amz_date[:8], region, service).copy()
    mac.update(string_to_sign.encode())
    signature = mac.hexdigest()
    signature_headers["Authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={signed_names}, Signature={signature}"
    )
    return signature_headers


@lru_cache(maxsize=4)
def _format_date(seconds: int) -> str:
    return strftime("%Y%m%dT%H%M%SZ", gmtime(seconds))


def canonical_path(path: str) -> str:
    """Remove dot segments and double slashes from an encoded path and encode it again."""
    if _PLAIN_PATH.fullmatch(path):  # most: a quarter of the time of `quote`
        return path
    if "//" in path or "/." in path:
        path = _remove_dot_segments(path)
    return quote(path, safe="/~") or "/"


def _remove_dot_segments(path: str) -> str:
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in {"", "."}:
            segments.append(segment)
    return ("/" if path.startswith("/") else "") + "/".join(segments) + ("/" if path.endswith("/") and segments else "")


# The headers are the same in every request but for the values of `variable_names`: sorting once
# saves 5 of 14 microseconds.
@lru_cache(maxsize=64)
def _canonical_headers(fixed: tuple[tuple[str, str], ...], variable_names: tuple[str, ...]) -> tuple[str, str]:
    """Get the names of all headers, and their lines with placeholders for `variable_names`."""
    fixed_values = [(name, _trim_spaces(value).replace("{", "{{").replace("}", "}}")) for name, value in fixed]
    placeholders = [(name, f"{{{index}}}") for index, name in enumerate(variable_names)]
    lines = sorted((name.lower(), value) for name, value in (*fixed_values, *placeholders))
    return ";".join(name for name, _ in lines), "".join(f"{name}:{value}\n" for name, value in lines)


def _trim_spaces(value: str) -> str:
    return " ".join(value.split())


# Four HMACs per day instead of per request save 8 of 17 microseconds. The cache holds the keys of
# two days and two sets of credentials in all Regions of a partition.
@lru_cache(maxsize=64)
def _signing_key(secret: str | None, day: str, region: str, service: str) -> hmac.HMAC:
    key = f"AWS4{secret}".encode()
    for step in (day, region, service, "aws4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    return hmac.new(key, digestmod="sha256")


def _sha256(data: bytes) -> str:
    # hashlib releases the GIL for 2,048 bytes or more and then waits for it: 9 microseconds for a
    # body of 3,000 bytes while the journal thread runs, 3 in two chunks.
    digest = sha256()
    for start in range(0, len(data), _CHUNK_SIZE):
        digest.update(data[start : start + _CHUNK_SIZE])
    return digest.hexdigest()


def clock_offset(reply: ErrorResponse, headers: Mapping[str, str], now: float, offset: float) -> float | None:
    """Get the seconds to add to the local clock if they can explain a rejected signature.

    The service accepts a signature for about five minutes around its own time. `now` is the local
    time of the response, and `offset` was added to it for the date of the request. The result is
    None if that date was close to the Date header of the response. [AWS: Signature Version 4,
    request dates]
    """
    if reply.status != 403 or reply.code not in _SIGNATURE_ERROR_CODES:
        return None
    service_time = parse_http_date(headers.get("date", ""))
    if service_time is None or abs(service_time - now - offset) < _MIN_OFFSET:
        return None
    return service_time - now
