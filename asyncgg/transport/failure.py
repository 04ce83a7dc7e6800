"""Rule: the naming of an exchange that brought no answer lives here: from botocore's exception to `Unanswered`.

Pure. Whether the request may have been sent is not guessed from the exception but observed (see `Exchange`).
"""

from __future__ import annotations

import re
from typing import Final

import aiohttp
from botocore import exceptions as aws

from asyncgg.model import Unanswered

__all__ = ["one_line", "unanswered"]

_SECRET: Final = re.compile(r"//[^/@\s]*@")
_LONGEST: Final = 300

_BEFORE_SENDING: Final = (aws.ProxyConnectionError, aws.SSLError, aws.ConnectTimeoutError)
"""Only raised while a connection is being made (to the proxy, or through it)."""


def one_line(text: object) -> str:
    """`text` on one line, cut to a readable length, without the user and password a URL in it may hold."""
    return _SECRET.sub("//***@", " ".join(str(text).split()))[:_LONGEST]


def unanswered(error: Exception, *, sent: bool) -> Unanswered:
    """The exchange that ended with `error`, one of botocore's; `sent` as `Unanswered` means it."""
    # botocore wraps what the HTTP library raised.
    cause = getattr(error, "kwargs", {}).get("error") or error
    sent = sent and not isinstance(error, _BEFORE_SENDING) and not isinstance(cause, aiohttp.ClientConnectorError)
    return Unanswered(_kind(error, cause, sent=sent), one_line(cause) or type(cause).__name__, sent=sent)


def _kind(error: Exception, cause: object, *, sent: bool) -> str:
    if isinstance(error, aws.ProxyConnectionError):
        return "proxy"
    if isinstance(error, aws.SSLError):
        return "tls"
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return "dns"
    if isinstance(error, aws.ConnectTimeoutError):
        return "connect"
    if isinstance(error, aws.ReadTimeoutError):
        return "timeout"
    if isinstance(cause, aiohttp.ClientResponseError):
        return "garbage"  # an answer that is no HTTP
    if isinstance(error, aws.ConnectionClosedError | aws.EndpointConnectionError):
        return "reset" if sent else "connect"
    return "http" if isinstance(error, aws.HTTPClientError) else "request"
