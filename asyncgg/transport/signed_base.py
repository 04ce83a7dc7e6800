"""Rule: what all transports to AWS do around one exchange lives here: time limit, credentials, failures in words."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

from botocore import exceptions as aws

from asyncgg.classify import ReplyVerdict, classify
from asyncgg.errors import CredentialsError
from asyncgg.models import Accepted, ClientDevice, CoreDevice, ErrorResponse, NoResponse, Reply
from asyncgg.transport.config import Endpoint
from asyncgg.transport.credentials import CredentialSource, SourceUnreachableError
from asyncgg.transport.failures import from_exception
from asyncgg.transport.list_responses import parse_core_page, parse_device_page
from asyncgg.transport.reads import MAX_PAGE_SIZE, CoreFilter, Page
from asyncgg.transport.responses import HttpResponse, parse_batch_response
from asyncgg.transport.trace import RequestTrace, current_trace

__all__ = ["BaseTransport"]

T = TypeVar("T")

_AUTH_ERRORS: Final = frozenset({ReplyVerdict.CREDENTIALS_EXPIRED, ReplyVerdict.CREDENTIALS_REJECTED})


class BaseTransport(ABC):
    """A transport whose requests are signed with the credentials of a source.

    `request_timeout`: seconds for a whole request; `clock`: this machine's time, in seconds since 1970.
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
        trace = RequestTrace()
        pending = self._post(trace, core, things)
        return await self._request(trace, core, things, pending, lambda answer: self._parse(answer, things))

    async def list_cores(
        self, token: str, filters: CoreFilter, limit: int = MAX_PAGE_SIZE
    ) -> Page[CoreDevice] | ErrorResponse | NoResponse:
        """See `ListingTransport.cores`."""
        filter_parameters = {
            "thingGroupArn": filters.thing_group_arn,
            "status": filters.status,
            "runtime": filters.runtime,
        }
        trace = RequestTrace()
        pending = self._get(trace, None, _parameters(token, filter_parameters, limit))
        return await self._request(trace, "", (), pending, lambda answer: parse_core_page(answer, self._clock()))

    async def list_client_devices(self, core: str, token: str) -> Page[ClientDevice] | ErrorResponse | NoResponse:
        """See `ListingTransport.devices`."""
        trace = RequestTrace()
        pending = self._get(trace, core, _parameters(token, {}))
        return await self._request(trace, core, (), pending, lambda answer: parse_device_page(answer, self._clock()))

    async def refresh(self) -> None:
        """See `Refreshable.refresh`."""
        await self._source.renew()

    @abstractmethod
    async def _post(self, trace: RequestTrace, core: str, things: Sequence[str]) -> Accepted | None:
        """Send a batch. What it returns is the reply; None means that it is to be read from `exchange.answer`."""

    @abstractmethod
    async def _get(self, trace: RequestTrace, core: str | None, parameters: Mapping[str, str]) -> None:
        """Ask for a page of a core's client devices, or of all cores; the answer goes to `exchange.answer`."""

    def _on_auth_error(self, reply: ErrorResponse, trace: RequestTrace, generation: int) -> ErrorResponse:
        """The reply to a request whose signature of credentials `generation` was refused."""
        self._source.mark_rejected(generation)
        return reply

    async def _request(
        self,
        trace: RequestTrace,
        core: str,
        things: Sequence[str],
        pending: Coroutine[Any, Any, T | None],
        parse: Callable[[HttpResponse], T | ErrorResponse | NoResponse],
    ) -> T | ErrorResponse | NoResponse:
        """What becomes of the request that `account_check` sends; `core` and `things` are those it speaks of."""
        generation = self._source.generation
        reply = await self._await_response(trace, pending, parse)
        if isinstance(reply, ErrorResponse) and classify(reply, core, tuple(things)) in _AUTH_ERRORS:
            return self._on_auth_error(reply, trace, generation)
        return reply

    async def _await_response(
        self,
        trace: RequestTrace,
        pending: Coroutine[Any, Any, T | None],
        parse: Callable[[HttpResponse], T | ErrorResponse | NoResponse],
    ) -> T | ErrorResponse | NoResponse:
        token = current_trace.set(trace)
        try:
            async with asyncio.timeout(self._request_timeout):
                reply = await pending
            if reply is not None:
                return reply
        except CredentialsError:
            raise
        except Exception as error:  # noqa: BLE001 - an answer, once read, counts whatever was made of it afterwards
            if trace.response is None:
                return self._from_exception(error, trace)
        finally:
            current_trace.reset(token)
        if trace.response is None:
            return NoResponse("garbage", "the call ended without an answer", sent=True)
        return parse(trace.response)

    def _parse(self, response: HttpResponse, things: Sequence[str]) -> Reply:
        return parse_batch_response(response, things, self._clock())

    def _from_exception(self, error: Exception, trace: RequestTrace) -> NoResponse:
        if isinstance(error, aws.BotoCoreError):
            return from_exception(error, sent=trace.may_have_been_sent)
        if isinstance(error, TimeoutError):
            return NoResponse("timeout", f"no answer within {self._request_timeout:g} s", sent=trace.may_have_been_sent)
        if isinstance(error, SourceUnreachableError):
            return NoResponse("credentials", str(error), sent=False)
        raise error  # a fault of ours: not to be taken for the network's


def _parameters(token: str, filters: Mapping[str, str], limit: int = MAX_PAGE_SIZE) -> dict[str, str]:
    """The parameters of a list's page, by their names in the service model; what is empty is not sent."""
    parameters = {"maxResults": str(limit), "nextToken": token, **filters}
    return {name: value for name, value in parameters.items() if value}
