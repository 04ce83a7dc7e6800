"""Rule: the form of a request lives here: what the SDK made of one once, how each further one is filled in.

Pure. Everything that is the same in every request (address, Region, headers) is read off one request that the SDK
prepared and signed, so that what a user configures and what an SDK release changes are in it without our knowing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_letters, digits
from typing import Final
from urllib.parse import quote, urlsplit

__all__ = ["PLACEHOLDER", "RequestTemplate", "encode_body", "encode_query", "from_signed_request"]

PLACEHOLDER: Final = "asyncgg-core-device"
"""The core's name in the request that the SDK prepares."""

_PORTS: Final = {"http": 80, "https": 443}
_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=\S+/\d{8}/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), Signature=.*"
)
_SAFE_BYTES: Final = f"{ascii_letters}{digits}:_-".encode()
"""The characters of thing names. [AWS IoT]"""

_PER_REQUEST_HEADERS: Final = frozenset(
    {
        "authorization",
        "content-length",
        "x-amz-date",
        "x-amz-security-token",
        # Number the tries of one call; we do not try again here, so they would say the same in every request.
        "amz-sdk-invocation-id",
        "amz-sdk-request",
    }
)


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """What every request of one transport has in common."""

    path_prefix: str
    """The path up to the core's name."""
    path_suffix: str
    """The path after it."""
    region: str
    """Of the signature; as `service`."""
    service: str
    signed_headers: Mapping[str, str]
    """Headers that enter the signature; the date's and the token's come to them."""
    unsigned_headers: Mapping[str, str]

    def path(self, core: str) -> str:
        """The path of a request for `core`, encoded."""
        return f"{self.path_prefix}{quote(core, safe='-._~')}{self.path_suffix}"

    @property
    def cores_path(self) -> str:
        """The path that all cores have in common, without a slash at its end."""
        return self.path_prefix.rstrip("/")


def from_signed_request(url: str, headers: Mapping[str, str | bytes]) -> RequestTemplate:
    """What a request to `PLACEHOLDER`, as the SDK would have sent it, has in common with all others.

    Raises ValueError when it is not signed by Signature Version 4 or not addressed to the core.
    """
    parts = urlsplit(url)
    prefix, placeholder, suffix = parts.path.partition(PLACEHOLDER)
    text_headers = {name: value if isinstance(value, str) else value.decode() for name, value in headers.items()}
    authorization = next((value for name, value in text_headers.items() if name.lower() == "authorization"), "")
    match = _AUTHORIZATION.fullmatch(authorization)
    if match is None:
        raise ValueError("the AWS configuration asks for a signature other than Signature Version 4")
    if not placeholder or parts.query:
        raise ValueError("the SDK addresses the operation in a way unknown to us")
    common = {name: value for name, value in text_headers.items() if name.lower() not in _PER_REQUEST_HEADERS}
    signed_names = frozenset(match[3].split(";"))
    return RequestTemplate(
        path_prefix=prefix,
        path_suffix=suffix,
        region=match[1],
        service=match[2],
        signed_headers={"Host": _host_header(url)}
        | {name: value for name, value in common.items() if name.lower() in signed_names},
        # The SDK's HTTP session adds it after the signing: an answer of a few bytes is not worth a decompressor.
        unsigned_headers={name: value for name, value in common.items() if name.lower() not in signed_names}
        | {"Accept-Encoding": "identity"},
    )


def _host_header(url: str) -> str:
    """The header Host for `url`: in lower case, without the scheme's own port. [RFC 9110, 7.2]"""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return host if parts.port in {None, _PORTS[parts.scheme]} else f"{host}:{parts.port}"


def encode_body(things: Sequence[str]) -> bytes:
    """The request's body: `{"entries": [{"thingName": …}, …]}` for `things`, at least one.

    Thing names need no escaping; for others, which the callers keep out, it is done all the same.
    """
    # 2.5 microseconds for 100 things, half of them for this check; json.dumps takes 46.
    if "".join(things).encode("ascii", "replace").translate(None, _SAFE_BYTES):
        return _encode_as_json(things)
    names = '"},{"thingName":"'.join(things)
    return f'{{"entries":[{{"thingName":"{names}"}}]}}'.encode()


def encode_query(parameters: Mapping[str, str]) -> str:
    """The query on the wire, which is the one that is signed: names in order, all but unreserved characters encoded.

    [AWS: Signature Version 4, canonical query string]
    """
    return "&".join(f"{name}={quote(value, safe='-._~')}" for name, value in sorted(parameters.items()))


def _encode_as_json(things: Sequence[str]) -> bytes:
    return json.dumps({"entries": [{"thingName": thing} for thing in things]}, separators=(",", ":")).encode()
