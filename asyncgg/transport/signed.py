"""Rule: what all transports to AWS do around one exchange lives here: time limit, credentials, failures in words."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final

from botocore import exceptions as aws

from asyncgg.classify import Verdict, classify
from asyncgg.errors import CredentialsError
from asyncgg.model import Refused, Reply, Unanswered
from asyncgg.transport.answer import read_answer
from asyncgg.transport.connection import Target
from asyncgg.transport.credentials import CredentialSource, SourceUnreachableError
from asyncgg.transport.exchange import EXCHANGE, Exchange
from asyncgg.transport.failure import unanswered

__all__ = ["SignedTransport"]

_NOT_ACCEPTED: Final = frozenset({Verdict.CREDENTIALS_EXPIRED, Verdict.CREDENTIALS_REJECTED})


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
        generation = self._source.generation
        exchange = Exchange()
        reply = await self._exchange(exchange, core, things)
        if isinstance(reply, Refused) and classify(reply, core, tuple(things)) in _NOT_ACCEPTED:
            return self._not_accepted(reply, exchange, generation)
        return reply

    async def refresh(self) -> None:
        """See `Refreshable.refresh`."""
        await self._source.renew()

    @abstractmethod
    async def _ask(self, exchange: Exchange, core: str, things: Sequence[str]) -> Reply:
        """Send one request and read its answer; `exchange.answer` holds the answer once it has come whole."""

    def _not_accepted(self, reply: Refused, exchange: Exchange, generation: int) -> Reply:
        """The reply to a request whose signature of credentials `generation` was refused."""
        self._source.refused(generation)
        return reply

    async def _exchange(self, exchange: Exchange, core: str, things: Sequence[str]) -> Reply:
        token = EXCHANGE.set(exchange)
        try:
            async with asyncio.timeout(self._request_timeout):
                return await self._ask(exchange, core, things)
        except CredentialsError:
            raise
        except Exception as error:  # noqa: BLE001 - an answer, once read, counts whatever was made of it afterwards
            if exchange.answer is not None:
                return self._read(exchange, things)
            return self._no_answer(error, exchange)
        finally:
            EXCHANGE.reset(token)

    def _read(self, exchange: Exchange, things: Sequence[str]) -> Reply:
        if exchange.answer is None:
            return Unanswered("garbage", "the call ended without an answer", sent=True)
        return read_answer(exchange.answer, things, self._clock())

    def _no_answer(self, error: Exception, exchange: Exchange) -> Unanswered:
        if isinstance(error, aws.BotoCoreError):
            return unanswered(error, sent=exchange.perhaps_sent)
        if isinstance(error, TimeoutError):
            return Unanswered("timeout", f"no answer within {self._request_timeout:g} s", sent=exchange.perhaps_sent)
        if isinstance(error, SourceUnreachableError):
            return Unanswered("credentials", str(error), sent=False)
        raise error  # a fault of ours: not to be taken for the network's
