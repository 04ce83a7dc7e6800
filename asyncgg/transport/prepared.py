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

__all__ = ["PLACEHOLDER", "Prepared", "body_of", "query_of", "read_prepared"]

PLACEHOLDER: Final = "asyncgg-core-device"
"""The core's name in the request that the SDK prepares."""

_PORTS: Final = {"http": 80, "https": 443}
_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=\S+/\d{8}/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), Signature=.*"
)
_PLAIN: Final = f"{ascii_letters}{digits}:_-".encode()
"""The characters of thing names. [AWS IoT]"""

_OF_ONE_REQUEST: Final = frozenset(
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
class Prepared:
    """What every request of one transport has in common."""

    before: str
    """The path up to the core's name."""
    after: str
    """The path after it."""
    region: str
    """Of the signature; as `service`."""
    service: str
    signed: Mapping[str, str]
    """Headers that enter the signature; the date's and the token's come to them."""
    unsigned: Mapping[str, str]

    def path(self, core: str) -> str:
        """The path of a request for `core`, encoded."""
        return f"{self.before}{quote(core, safe='-._~')}{self.after}"

    @property
    def all_cores(self) -> str:
        """The path that all cores have in common, without a slash at its end."""
        return self.before.rstrip("/")


def read_prepared(url: str, headers: Mapping[str, str | bytes]) -> Prepared:
    """What a request to `PLACEHOLDER`, as the SDK would have sent it, has in common with all others.

    Raises ValueError when it is not signed by Signature Version 4 or not addressed to the core.
    """
    parts = urlsplit(url)
    before, found, after = parts.path.partition(PLACEHOLDER)
    texts = {name: value if isinstance(value, str) else value.decode() for name, value in headers.items()}
    signature = next((value for name, value in texts.items() if name.lower() == "authorization"), "")
    scope = _AUTHORIZATION.fullmatch(signature)
    if scope is None:
        raise ValueError("the AWS configuration asks for a signature other than Signature Version 4")
    if not found or parts.query:
        raise ValueError("the SDK addresses the operation in a way unknown to us")
    common = {name: value for name, value in texts.items() if name.lower() not in _OF_ONE_REQUEST}
    names = frozenset(scope[3].split(";"))
    return Prepared(
        before=before,
        after=after,
        region=scope[1],
        service=scope[2],
        signed={"Host": _host(url)} | {name: value for name, value in common.items() if name.lower() in names},
        # The SDK's HTTP session adds it after the signing: an answer of a few bytes is not worth a decompressor.
        unsigned={name: value for name, value in common.items() if name.lower() not in names}
        | {"Accept-Encoding": "identity"},
    )


def _host(url: str) -> str:
    """The header Host for `url`: in lower case, without the scheme's own port. [RFC 9110, 7.2]"""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return host if parts.port in {None, _PORTS[parts.scheme]} else f"{host}:{parts.port}"


def body_of(things: Sequence[str]) -> bytes:
    """The request's body: `{"entries": [{"thingName": …}, …]}` for `things`, at least one.

    Thing names need no escaping; for others, which the callers keep out, it is done all the same.
    """
    # 2.5 microseconds for 100 things, half of them for this check; json.dumps takes 46.
    if "".join(things).encode("ascii", "replace").translate(None, _PLAIN):
        return _escaped(things)
    names = '"},{"thingName":"'.join(things)
    return f'{{"entries":[{{"thingName":"{names}"}}]}}'.encode()


def query_of(parameters: Mapping[str, str]) -> str:
    """The query on the wire, which is the one that is signed: names in order, all but unreserved characters encoded.

    [AWS: Signature Version 4, canonical query string]
    """
    return "&".join(f"{name}={quote(value, safe='-._~')}" for name, value in sorted(parameters.items()))


def _escaped(things: Sequence[str]) -> bytes:
    return json.dumps({"entries": [{"thingName": thing} for thing in things]}, separators=(",", ":")).encode()
