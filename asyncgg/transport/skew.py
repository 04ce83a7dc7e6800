"""Rule: whether a refused signature was refused for this machine's clock is decided here; pure.

The service accepts a signature for about five minutes around its own time. [AWS: Signature Version 4, request dates]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from asyncgg.models import ErrorResponse
from asyncgg.transport.responses import parse_http_date

__all__ = ["REQUEST_EXPIRED", "clock_offset"]

REQUEST_EXPIRED: Final = "RequestExpired"
"""AWS's code for a request that is refused for its date alone. [AWS: common errors]"""

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
"""Seconds; a smaller difference is the way of the answer, and never the reason of a refusal."""


def clock_offset(reply: ErrorResponse, headers: Mapping[str, str], now: float, offset: float) -> float | None:
    """Seconds to add to this machine's clock to have the service's, when that may be why it refused the signature.

    `now` is this machine's time at the answer, and `offset` what was added to it for the request's date: when the
    answer's own date (header Date) is close to that sum, the clock is not the reason, and the result is None.
    """
    if reply.status != 403 or reply.code not in _SIGNATURE_ERROR_CODES:
        return None
    service_time = parse_http_date(headers.get("date", ""))
    if service_time is None or abs(service_time - now - offset) < _MIN_OFFSET:
        return None
    return service_time - now
