"""Rule: the naming of an exchange that brought no answer lives here: from the HTTP library's exception to `NoResponse`.

Pure. Whether the request may have been sent is not guessed from the exception but observed (see `RequestTrace`).
"""

from __future__ import annotations

import re
import socket
from typing import Final

import aiohttp
from aiohttp.http_exceptions import BadStatusLine
from botocore import exceptions as aws

from asyncgg.errors import redact_secrets
from asyncgg.models import NoResponse

__all__ = ["from_exception", "sanitize"]

_URL_USERINFO: Final = re.compile(r"//[^/@\s]*@")
_MAX_LENGTH: Final = 300

_PROXY_ERRORS: Final = (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)
_BEFORE_SENDING: Final = (
    *_PROXY_ERRORS,
    aiohttp.ClientConnectorError,
    aiohttp.ClientSSLError,
    aiohttp.ConnectionTimeoutError,
)
"""Only raised while a connection is being made (to the proxy, or through it)."""
_CONNECTION_LOST: Final = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, BadStatusLine, socket.gaierror)


def sanitize(text: object) -> str:
    """`text` on one line, printable and of readable length, without a URL's user and password or a session token."""
    line = redact_secrets(_URL_USERINFO.sub("//***@", " ".join(str(text).split())))[:_MAX_LENGTH]
    return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def from_exception(error: Exception, *, sent: bool) -> NoResponse:
    """The exchange that ended with `error`, aiohttp's or botocore's; `sent` as `NoResponse` means it."""
    # botocore wraps what the HTTP library raised.
    cause = getattr(error, "kwargs", {}).get("error") or error
    sent = sent and not isinstance(cause, _BEFORE_SENDING)
    return NoResponse(_kind(error, cause, sent=sent), sanitize(cause) or type(cause).__name__, sent=sent)


def _kind(error: Exception, cause: object, *, sent: bool) -> str:
    kinds: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
        (_PROXY_ERRORS, "proxy"),
        (aiohttp.ClientSSLError, "tls"),
        (aiohttp.ClientConnectorDNSError, "dns"),
        (aiohttp.ConnectionTimeoutError, "connect"),
        (TimeoutError, "timeout"),
        (aiohttp.ClientResponseError, "garbage"),  # an answer that is no HTTP
        (_CONNECTION_LOST, "reset" if sent else "connect"),
        (aws.HTTPClientError, "http"),
        (aws.BotoCoreError, "request"),
    )
    return next((kind for types, kind in kinds if isinstance(cause, types)), "http")
