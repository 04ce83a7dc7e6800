"""Rule: the transport that signs and sends by itself lives here: the aiobotocore client configures it once, at opening.

What the SDK does anew in each call (building, validating, serializing, hooks, user agent) is done once or not at all.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from botocore import exceptions as aws

from asyncgg.errors import CredentialsError, InternalError, UsageError
from asyncgg.model import Accepted, ErrorResponse, Operation
from asyncgg.transport.answer import Answer
from asyncgg.transport.client import Opened, open_client
from asyncgg.transport.connection import Connection
from asyncgg.transport.credentials import SourceUnreachableError
from asyncgg.transport.exchange import Exchange, Phase
from asyncgg.transport.failure import one_line
from asyncgg.transport.posting import Host, PostingSession
from asyncgg.transport.prepared import PLACEHOLDER, Prepared, body_of, query_of, read_prepared
from asyncgg.transport.signed import SignedTransport
from asyncgg.transport.sigv4 import sign
from asyncgg.transport.skew import CLOCK_CODE, service_ahead

__all__ = ["FastTransport", "open_fast"]

_PLAIN_SUCCESSES: Final = frozenset({b'{"errorEntries":[]}', b'{"errorEntries": []}', b"{}"})

Sending = Coroutine[Any, Any, tuple[aiohttp.ClientResponse, bytes]]


class FastTransport(SignedTransport):
    """Sends requests that it signs itself; made by `open_transport`. `clock` gives seconds since 1970."""

    def __init__(
        self,
        opened: Opened,
        batch: Prepared,
        listing: Prepared,
        host: Host,
        request_timeout: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(opened.source, opened.target, request_timeout, clock)
        self._batch = batch
        self._list = listing
        self._host = host
        self._offset = 0.0
        self._clock_was_wrong = False

    async def refresh(self) -> None:
        """See `Refreshable.refresh`; after a refusal for the clock alone the credentials are kept."""
        if self._clock_was_wrong:
            self._clock_was_wrong = False
            return
        await super().refresh()

    async def _post(self, exchange: Exchange, core: str, things: Sequence[str]) -> Accepted | None:
        keys = await self._source.get_frozen_credentials()
        fixed = self._batch
        path, body = fixed.path(core), body_of(things)
        exchange.offset = self._offset
        added = sign(
            keys, fixed.region, fixed.service, "POST", path, fixed.signed, body, self._clock() + exchange.offset
        )
        sending = self._host.post(path, {**fixed.unsigned, **fixed.signed, **added}, body)
        response, content = await self._sent(exchange, sending)
        # The plain success, by far the most frequent answer, needs neither JSON nor a mapping of the headers.
        if response.status == 200 and content in _PLAIN_SUCCESSES:
            return Accepted((), response.headers.get("x-amzn-RequestId", ""))
        exchange.answer = _answer(response, content)
        return None

    async def _get(self, exchange: Exchange, core: str | None, parameters: Mapping[str, str]) -> None:
        keys = await self._source.get_frozen_credentials()
        fixed = self._list
        path, query = fixed.all_cores if core is None else fixed.path(core), query_of(parameters)
        exchange.offset = self._offset
        date = self._clock() + exchange.offset
        added = sign(keys, fixed.region, fixed.service, "GET", path, fixed.signed, b"", date, query)
        sending = self._host.get(path, query, {**fixed.unsigned, **fixed.signed, **added})
        exchange.answer = _answer(*await self._sent(exchange, sending))

    async def _sent(self, exchange: Exchange, sending: Sending) -> tuple[aiohttp.ClientResponse, bytes]:
        exchange.phase = Phase.HANDED_OVER
        try:
            answered = await sending
        except Exception as error:
            # As aiobotocore does it: from here on whatever is raised is the HTTP client's, and none of our own faults.
            raise aws.HTTPClientError(error=error) from error
        if exchange.phase is Phase.CONNECTING:
            raise InternalError("aiohttp writes requests in a way unknown to asyncgg; use the transport `sdk`")
        return answered

    def _not_accepted(self, reply: ErrorResponse, exchange: Exchange, generation: int) -> ErrorResponse:
        """Correct the clock where that was the reason; otherwise as for every transport.

        One call is one request, so the refused one is not sent again here. `RequestExpired` leads the engine to ask for
        a refresh, which is then none, and to send the same things again at once, at no attempt's cost.
        """
        headers = exchange.answer.headers if exchange.answer else {}
        offset = service_ahead(reply, headers, self._clock(), exchange.offset)
        if offset is None:
            return super()._not_accepted(reply, exchange, generation)
        if exchange.offset == self._offset:  # otherwise another request's answer has corrected it meanwhile
            self._offset, self._clock_was_wrong = offset, True
        said = f"{reply.code}: {reply.message}; this machine's clock is {abs(offset):.0f} s {_side(offset)}"
        return ErrorResponse(reply.status, CLOCK_CODE, f"{said}, corrected for this run", reply.request_id)


def _answer(response: aiohttp.ClientResponse, content: bytes) -> Answer:
    headers = {name.decode().lower(): value.decode("utf-8", "replace") for name, value in response.raw_headers}
    return Answer(response.status, headers, content)


def _side(offset: float) -> str:
    return "behind the service's" if offset > 0 else "ahead of the service's"


@asynccontextmanager
async def open_fast(
    connection: Connection,
    operation: Operation = Operation.DISASSOCIATE,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[FastTransport]:
    """See `open_transport`."""
    async with open_client(connection, PostingSession) as opened:
        session = opened.client._endpoint.http_session
        core = {"coreDeviceThingName": PLACEHOLDER}
        try:
            await opened.client.list_client_devices_associated_with_core_device(**core)
            listing = read_prepared(session.kept.url, dict(session.kept.headers.items()))
            await opened.call(operation)(**core, entries=[{"thingName": PLACEHOLDER}])
            batch = read_prepared(session.kept.url, dict(session.kept.headers.items()))
            host = await session.host_of(session.kept.url)
        except SourceUnreachableError as error:
            raise CredentialsError(f"no AWS credentials: {error}") from None
        except (ValueError, aws.BotoCoreError) as error:
            raise UsageError(f"the transport `fast` cannot be used here: {one_line(error)}; use `sdk`") from None
        yield FastTransport(opened, batch, listing, host, connection.request_timeout, clock)
