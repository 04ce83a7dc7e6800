"""Maps exceptions of the HTTP client to `NoResponse`."""

from __future__ import annotations

import socket
from typing import Final

import aiohttp
from aiohttp.http_exceptions import BadStatusLine
from botocore import exceptions as aws

from asyncgg.formatting import sanitize
from asyncgg.models import NoResponse

_PROXY_ERRORS: Final = (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)
_BEFORE_SENDING: Final = (
    *_PROXY_ERRORS,
    aiohttp.ClientConnectorError,
    aiohttp.ClientSSLError,
    aiohttp.ConnectionTimeoutError,
)
"""Raised only while a connection to the service or its proxy is being established."""
_CONNECTION_LOST: Final = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, BadStatusLine, socket.gaierror)


def from_exception(error: Exception, *, sent: bool) -> NoResponse:
    """Convert `error` of aiohttp or botocore; `sent`: the request may have been sent."""
    # botocore wraps the exception of the HTTP library.
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
        (aiohttp.ClientResponseError, "garbage"),  # the response is not HTTP
        (_CONNECTION_LOST, "reset" if sent else "connect"),
        (aws.HTTPClientError, "http"),
        (aws.BotoCoreError, "request"),
    )
    return next((kind for types, kind in kinds if isinstance(cause, types)), "http")
