"""Implements what all transports share: time limit, credentials and error mapping."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from enum import Enum
from typing import Final, TypeVar

import aiohttp
from aiohttp.http_exceptions import BadStatusLine
from botocore import exceptions as aws

from asyncgg.classify import ReplyVerdict, classify
from asyncgg.errors import CredentialsError
from asyncgg.formatting import sanitize
from asyncgg.models import Accepted, ClientDevice, CoreDevice, ErrorResponse, NoResponse, Reply
from asyncgg.transport.base import MAX_PAGE_SIZE, CoreFilter, Page
from asyncgg.transport.config import Endpoint
from asyncgg.transport.credentials import CredentialSource
from asyncgg.transport.list_responses import parse_core_page, parse_device_page
from asyncgg.transport.responses import HttpResponse, parse_batch_response

T = TypeVar("T")

_AUTH_ERRORS: Final = frozenset({ReplyVerdict.CREDENTIALS_EXPIRED, ReplyVerdict.CREDENTIALS_REJECTED})


class Phase(Enum):
    """How far one request has got."""

    PREPARED = "prepared"
    """Being built and signed; the first request also builds the TLS context."""
    HANDED_OVER = "handed over"
    """Passed to the HTTP client; its progress is unknown."""
    CONNECTING = "connecting"
    """Waiting for a connection; nothing was written."""
    WRITTEN = "written"
    """Written or about to be written: the service may have received it."""


class RequestTrace:
    """The progress and the response of one request."""

    __slots__ = ("clock_offset", "phase", "response")

    def __init__(self) -> None:
        self.phase = Phase.PREPARED
        self.response: HttpResponse | None = None
        self.clock_offset = 0.0
        """Seconds added to the local clock for the date of the request."""

    @property
    def may_have_been_sent(self) -> bool:
        """False only if it is certain that no byte of the request left this machine."""
        return self.phase in {Phase.HANDED_OVER, Phase.WRITTEN}


current_trace: ContextVar[RequestTrace] = ContextVar("asyncgg_current_trace")
"""The trace of the current task, for hooks of botocore and aiohttp."""


class BaseTransport(ABC):
    """A transport that signs requests with the credentials of a source.

    `request_timeout` is in seconds for a whole request; `clock` returns seconds since 1970.
    """

    def __init__(
        self,
        source: CredentialSource,
        endpoint: Endpoint,
        request_timeout: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._request_timeout = request_timeout
        self._clock = clock
        self.endpoint = endpoint

    def __repr__(self) -> str:
        return f"{type(self).__name__}(endpoint_url={self.endpoint.url!r}, region={self.endpoint.region!r})"

    async def send(self, core: str, things: Sequence[str]) -> Reply:
        """See `Transport.send`."""
        return await self._request(
            core,
            things,
            lambda trace: self._post(trace, core, things),
            lambda response: parse_batch_response(response, things, self._clock()),
        )

    async def list_cores(
        self, token: str, filters: CoreFilter, limit: int = MAX_PAGE_SIZE
    ) -> Page[CoreDevice] | ErrorResponse | NoResponse:
        """See `ListingTransport.list_cores`."""
        filter_parameters = {
            "thingGroupArn": filters.thing_group_arn,
            "status": filters.status,
            "runtime": filters.runtime,
        }
        parameters = _parameters(token, filter_parameters, limit)
        return await self._request(
            "",
            (),
            lambda trace: self._get(trace, None, parameters),
            lambda response: parse_core_page(response, self._clock()),
        )

    async def list_client_devices(self, core: str, token: str) -> Page[ClientDevice] | ErrorResponse | NoResponse:
        """See `ListingTransport.list_client_devices`."""
        parameters = _parameters(token, {})
        return await self._request(
            core,
            (),
            lambda trace: self._get(trace, core, parameters),
            lambda response: parse_device_page(response, self._clock()),
        )

    async def refresh(self) -> None:
        """See `Refreshable.refresh`."""
        await self._source.renew()

    @abstractmethod
    async def _post(self, trace: RequestTrace, core: str, things: Sequence[str]) -> Accepted | None:
        """Send a batch. Return the reply, or None if the response is in `trace.response`."""

    @abstractmethod
    async def _get(self, trace: RequestTrace, core: str | None, parameters: Mapping[str, str]) -> None:
        """Get a page of the client devices of `core`, or of all cores, into `trace.response`."""

    def _on_auth_error(self, reply: ErrorResponse, trace: RequestTrace, generation: int) -> ErrorResponse:
        """Return the reply for a rejected signature made with credentials of `generation`."""
        self._source.mark_rejected(generation)
        return reply

    async def _request(
        self,
        core: str,
        things: Sequence[str],
        call: Callable[[RequestTrace], Awaitable[T | None]],
        parse: Callable[[HttpResponse], T | ErrorResponse | NoResponse],
    ) -> T | ErrorResponse | NoResponse:
        """Run `call` once and return its result, the parsed response or the failure."""
        # Waiting for credentials is neither part of the request nor of its time limit: `refresh` does it.
        if self._source.current() is None:
            raise CredentialsError("the AWS credentials expired")
        generation = self._source.generation
        trace = RequestTrace()
        context = current_trace.set(trace)
        try:
            async with asyncio.timeout(self._request_timeout):
                result = await call(trace)
            if result is not None:
                return result
        except CredentialsError:
            raise
        except Exception as error:  # noqa: BLE001 - a received response counts, whatever failed after it
            if trace.response is None:
                return self._from_exception(error, trace)
        finally:
            current_trace.reset(context)
        if trace.response is None:
            return NoResponse("garbage", "the call returned without a response", sent=True)
        reply = parse(trace.response)
        if isinstance(reply, ErrorResponse) and classify(reply, core, tuple(things)) in _AUTH_ERRORS:
            return self._on_auth_error(reply, trace, generation)
        return reply

    def _from_exception(self, error: Exception, trace: RequestTrace) -> NoResponse:
        if isinstance(error, aws.BotoCoreError):
            return _from_library_error(error, sent=trace.may_have_been_sent)
        if isinstance(error, TimeoutError):
            detail = f"no response within {self._request_timeout:g} s"
            return NoResponse("timeout", detail, sent=trace.may_have_been_sent)
        raise error  # an internal error, not one of the network


def _parameters(token: str, filters: Mapping[str, str], limit: int = MAX_PAGE_SIZE) -> dict[str, str]:
    """Build the non-empty parameters of a list request by their names in the service model."""
    parameters = {"maxResults": str(limit), "nextToken": token, **filters}
    return {name: value for name, value in parameters.items() if value}


_PROXY_ERRORS: Final = (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)
_BEFORE_SENDING: Final = (
    *_PROXY_ERRORS,
    aiohttp.ClientConnectorError,
    aiohttp.ClientSSLError,
    aiohttp.ConnectionTimeoutError,
)
"""Raised only while a connection to the service or its proxy is being established."""
_CONNECTION_LOST: Final = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, BadStatusLine, socket.gaierror)


def _from_library_error(error: Exception, *, sent: bool) -> NoResponse:
    """Convert `error` of aiohttp or botocore; `sent`: the request may have been sent."""
    # botocore wraps the exception of the HTTP library.
    cause = getattr(error, "kwargs", {}).get("error") or error
    sent = sent and not isinstance(cause, _BEFORE_SENDING)
    return NoResponse(_kind(error, cause, sent=sent), _describe(cause), sent=sent)


def _describe(cause: Exception) -> str:
    """What happened, in one line; not what aiohttp writes, which names its own objects."""
    if isinstance(cause, aiohttp.ClientConnectorError) and not isinstance(cause, aiohttp.ClientSSLError):
        target = f"{'the proxy ' if isinstance(cause, _PROXY_ERRORS) else ''}{cause.host}:{cause.port}"
        number = cause.os_error.errno or 0  # negative: a failed lookup of the name, which strerror does not know
        reason = os.strerror(number) if number > 0 else cause.os_error.strerror or str(cause.os_error)
        return sanitize(f"cannot connect to {target}: {reason.lower()}")
    return sanitize(cause) or type(cause).__name__


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
