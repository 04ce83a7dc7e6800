"""Parses and verifies Signature Version 4 of requests, and simulates STS GetCallerIdentity."""

# Written from the specification and independent of the signer in asyncgg.transport.
# [AWS: Signature Version 4]

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote
from xml.sax.saxutils import escape

from asyncgg.simulator.wire import ApiError, Request, Response

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SCOPE: Final = re.compile(r"(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_STS_XMLNS: Final = "https://sts.amazonaws.com/doc/2011-06-15/"
_STS_HEADERS: Final = {"Content-Type": "text/xml"}


@dataclass(frozen=True, slots=True)
class RequestSignature:
    """The parts of an Authorization header and the date of its request."""

    access_key: str
    day: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    """Names of the signed headers."""
    hexdigest: str
    date: str
    """The X-Amz-Date header."""


def parse_signature(request: Request, service: str) -> RequestSignature:
    """Parse a signature for `service` without verifying it; raises `ApiError` (403)."""
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    if scheme != _ALGORITHM:
        raise ApiError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not parts.get(name):
            raise _invalid_signature(f"Authorization header requires '{name}' parameter.")
    scope = _SCOPE.fullmatch(parts["Credential"])
    if scope is None:
        raise _invalid_signature("Credential must have the form KEY/DATE/REGION/SERVICE/aws4_request.")
    date = request.headers.get("x-amz-date", "")
    if not re.fullmatch(r"\d{8}T\d{6}Z", date):
        raise _invalid_signature("X-Amz-Date is missing or does not have the form YYYYMMDDTHHMMSSZ.")
    if scope["service"] != service:
        raise _invalid_signature(f"Credential should be scoped to correct service: '{service}'.")
    if scope["day"] != date[:8]:
        raise _invalid_signature("The date of the Credential differs from X-Amz-Date.")
    signed_headers = tuple(parts["SignedHeaders"].split(";"))
    if not {"host", "x-amz-date"} <= set(signed_headers):
        raise _invalid_signature("'Host' and 'X-Amz-Date' must be signed headers.")
    if not re.fullmatch(r"[0-9a-f]{64}", parts["Signature"]):
        raise _invalid_signature("Signature is not 64 hexadecimal digits.")
    return RequestSignature(
        scope["key"], scope["day"], scope["region"], service, signed_headers, parts["Signature"], date
    )


def check_date(signature: RequestSignature, now: float, max_clock_skew: float) -> None:
    """Raise `ApiError` (403) if the date is over `max_clock_skew` seconds from `now`."""
    try:
        timestamp = datetime.strptime(signature.date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise _invalid_signature("X-Amz-Date is not a valid date.") from None
    if timestamp < now - max_clock_skew:
        raise _invalid_signature(f"Signature expired: {signature.date} is earlier than the server allows.")
    if timestamp > now + max_clock_skew:
        raise _invalid_signature(f"Signature not yet current: {signature.date} is still later than the server allows.")


def check_signature(signature: RequestSignature, request: Request, secret: str) -> None:
    """Raise `ApiError` (403) unless the signature matches the request and `secret`."""
    missing = [name for name in signature.signed_headers if name not in request.headers]
    if missing:
        raise _invalid_signature(f"Signed header {missing[0]!r} is not in the request.")
    scope = f"{signature.day}/{signature.region}/{signature.service}/aws4_request"
    digest = hashlib.sha256(_canonical_request(signature, request).encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    expected = hmac.digest(key, f"{_ALGORITHM}\n{signature.date}\n{scope}\n{digest}".encode(), "sha256").hex()
    if not hmac.compare_digest(expected, signature.hexdigest):
        raise _invalid_signature("The request signature we calculated does not match the signature you provided.")


def _canonical_request(signature: RequestSignature, request: Request) -> str:
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        # SigV4 encodes a space as %20, so a plus sign is literal.
        for name, value in parse_qsl(request.query.replace("+", "%2B"), keep_blank_values=True)
    )
    lines = [
        request.method,
        quote(request.path, safe="/-_.~"),  # the encoded path is encoded again
        "&".join(f"{name}={value}" for name, value in pairs),
        *(f"{name}:{' '.join(request.headers[name].split())}" for name in signature.signed_headers),
        "",
        ";".join(signature.signed_headers),
        # Always the received body: unsigned payloads are not accepted.
        hashlib.sha256(request.body).hexdigest(),
    ]
    return "\n".join(lines)


def _invalid_signature(reason: str) -> ApiError:
    return ApiError(403, "InvalidSignatureException", reason)


# --- STS: a form as request, XML as response [botocore service model sts/2011-06-15] ---


def is_identity_request(request: Request) -> bool:
    """Check if the form or the query of a request is a GetCallerIdentity."""
    form = request.body.decode("ascii", "replace") if request.method == "POST" else request.query
    return dict(parse_qsl(form)).get("Action") == "GetCallerIdentity"


def identity_response(account: str, access_key: str, request_id: str) -> Response:
    """Build the response for a simulated user of `account`."""
    result = (
        f"<Arn>arn:aws:iam::{account}:user/simulated</Arn>"
        f"<UserId>{escape(access_key)}</UserId><Account>{account}</Account>"
    )
    body = (
        f'<GetCallerIdentityResponse xmlns="{_STS_XMLNS}"><GetCallerIdentityResult>{result}</GetCallerIdentityResult>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )
    return Response(200, body.encode(), _STS_HEADERS)


def sts_error(status: int, code: str, message: str, request_id: str) -> Response:
    """Build an error of the query protocol, whose codes do not end in `Exception`."""
    body = (
        f'<ErrorResponse xmlns="{_STS_XMLNS}"><Error><Type>Sender</Type><Code>{code.removesuffix("Exception")}</Code>'
        f"<Message>{escape(message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return Response(status, body.encode(), _STS_HEADERS)
