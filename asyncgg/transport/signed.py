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
from asyncgg.model import Accepted, ClientDevice, CoreDevice, ErrorResponse, NoResponse, Reply
from asyncgg.transport.answer import Answer, read_answer
from asyncgg.transport.connection import Target
from asyncgg.transport.credentials import CredentialSource, SourceUnreachableError
from asyncgg.transport.exchange import EXCHANGE, Exchange
from asyncgg.transport.failure import unanswered
from asyncgg.transport.pages import read_cores, read_devices
from asyncgg.transport.reads import PAGE, CoreFilter, Page

__all__ = ["SignedTransport"]

T = TypeVar("T")

_NOT_ACCEPTED: Final = frozenset({ReplyVerdict.CREDENTIALS_EXPIRED, ReplyVerdict.CREDENTIALS_REJECTED})


class SignedTransport(ABC):
    """A transport whose requests are signed with the credentials of a source.

    `request_timeout`: seconds for a whole request; `clock`: this machine's time, in seconds since 1970.
    """

    def __init__(
        self,
        source: CredentialSource,
        target: Target,
        request_timeout: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._request_timeout = request_timeout
        self._clock = clock
        self.target = target

    def __repr__(self) -> str:
        return f"{type(self).__name__}(endpoint_url={self.target.endpoint_url!r}, region={self.target.region!r})"

    async def send(self, core: str, things: Sequence[str]) -> Reply:
        """See `Transport.send`."""
        exchange = Exchange()
        asking = self._post(exchange, core, things)
        return await self._exchange(exchange, core, things, asking, lambda answer: self._read(answer, things))

    async def cores(
        self, token: str, filters: CoreFilter, limit: int = PAGE
    ) -> Page[CoreDevice] | ErrorResponse | NoResponse:
        """See `Reads.cores`."""
        wanted = {"thingGroupArn": filters.thing_group_arn, "status": filters.status, "runtime": filters.runtime}
        exchange = Exchange()
        asking = self._get(exchange, None, _parameters(token, wanted, limit))
        return await self._exchange(exchange, "", (), asking, lambda answer: read_cores(answer, self._clock()))

    async def devices(self, core: str, token: str) -> Page[ClientDevice] | ErrorResponse | NoResponse:
        """See `Reads.devices`."""
        exchange = Exchange()
        asking = self._get(exchange, core, _parameters(token, {}))
        return await self._exchange(exchange, core, (), asking, lambda answer: read_devices(answer, self._clock()))

    async def refresh(self) -> None:
        """See `Refreshable.refresh`."""
        await self._source.renew()

    @abstractmethod
    async def _post(self, exchange: Exchange, core: str, things: Sequence[str]) -> Accepted | None:
        """Send a batch. What it returns is the reply; None means that it is to be read from `exchange.answer`."""

    @abstractmethod
    async def _get(self, exchange: Exchange, core: str | None, parameters: Mapping[str, str]) -> None:
        """Ask for a page of a core's client devices, or of all cores; the answer goes to `exchange.answer`."""

    def _not_accepted(self, reply: ErrorResponse, exchange: Exchange, generation: int) -> ErrorResponse:
        """The reply to a request whose signature of credentials `generation` was refused."""
        self._source.refused(generation)
        return reply

    async def _exchange(
        self,
        exchange: Exchange,
        core: str,
        things: Sequence[str],
        asking: Coroutine[Any, Any, T | None],
        read: Callable[[Answer], T | ErrorResponse | NoResponse],
    ) -> T | ErrorResponse | NoResponse:
        """What becomes of the request that `asking` sends; `core` and `things` are those it speaks of."""
        generation = self._source.generation
        reply = await self._answered(exchange, asking, read)
        if isinstance(reply, ErrorResponse) and classify(reply, core, tuple(things)) in _NOT_ACCEPTED:
            return self._not_accepted(reply, exchange, generation)
        return reply

    async def _answered(
        self,
        exchange: Exchange,
        asking: Coroutine[Any, Any, T | None],
        read: Callable[[Answer], T | ErrorResponse | NoResponse],
    ) -> T | ErrorResponse | NoResponse:
        token = EXCHANGE.set(exchange)
        try:
            async with asyncio.timeout(self._request_timeout):
                known = await asking
            if known is not None:
                return known
        except CredentialsError:
            raise
        except Exception as error:  # noqa: BLE001 - an answer, once read, counts whatever was made of it afterwards
            if exchange.answer is None:
                return self._no_answer(error, exchange)
        finally:
            EXCHANGE.reset(token)
        if exchange.answer is None:
            return NoResponse("garbage", "the call ended without an answer", sent=True)
        return read(exchange.answer)

    def _read(self, answer: Answer, things: Sequence[str]) -> Reply:
        return read_answer(answer, things, self._clock())

    def _no_answer(self, error: Exception, exchange: Exchange) -> NoResponse:
        if isinstance(error, aws.BotoCoreError):
            return unanswered(error, sent=exchange.perhaps_sent)
        if isinstance(error, TimeoutError):
            return NoResponse("timeout", f"no answer within {self._request_timeout:g} s", sent=exchange.perhaps_sent)
        if isinstance(error, SourceUnreachableError):
            return NoResponse("credentials", str(error), sent=False)
        raise error  # a fault of ours: not to be taken for the network's


def _parameters(token: str, wanted: Mapping[str, str], limit: int = PAGE) -> dict[str, str]:
    """The parameters of a list's page, by their names in the service model; what is empty is not sent."""
    given = {"maxResults": str(limit), "nextToken": token, **wanted}
    return {name: value for name, value in given.items() if value}
