"""Rule: the transport through the aiobotocore client lives here; no exception of botocore or aiohttp leaves it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from botocore import exceptions as aws

from asyncgg.classify import Verdict, classify
from asyncgg.errors import CredentialsError
from asyncgg.model import Refused, Reply, Unanswered
from asyncgg.transport.answer import Answer, read_answer
from asyncgg.transport.connection import Connection, Target, resolve
from asyncgg.transport.credentials import CredentialSource, SourceUnreachableError
from asyncgg.transport.failure import unanswered
from asyncgg.transport.http import EXCHANGE, Exchange, WatchedSession
from asyncgg.transport.session import SERVICE, client_config, new_session

__all__ = ["AwsTransport", "open_transport"]

_OPERATION: Final = "BatchDisassociateClientDeviceFromCoreDevice"
_NOT_ACCEPTED: Final = frozenset({Verdict.CREDENTIALS_EXPIRED, Verdict.CREDENTIALS_REJECTED})


class AwsTransport:
    """Sends through an open aiobotocore client; made by `open_transport`."""

    def __init__(self, client: Any, source: CredentialSource, target: Target, request_timeout: float) -> None:
        self._call = client.batch_disassociate_client_device_from_core_device
        self._source = source
        self._request_timeout = request_timeout
        self.target = target

    def __repr__(self) -> str:
        return f"AwsTransport(endpoint_url={self.target.endpoint_url!r}, region={self.target.region!r})"

    async def send(self, core: str, things: Sequence[str]) -> Reply:
        """See `Transport.send`."""
        generation = self._source.generation
        reply = await self._exchange(core, things)
        if isinstance(reply, Refused) and classify(reply, core, tuple(things)) in _NOT_ACCEPTED:
            self._source.refused(generation)
        return reply

    async def refresh(self) -> None:
        """See `Refreshable.refresh`."""
        await self._source.renew()

    async def _exchange(self, core: str, things: Sequence[str]) -> Reply:
        exchange = Exchange()
        token = EXCHANGE.set(exchange)
        try:
            async with asyncio.timeout(self._request_timeout):
                await self._call(coreDeviceThingName=core, entries=[{"thingName": thing} for thing in things])
        except CredentialsError:
            raise
        except Exception as error:  # noqa: BLE001 - the answer, once read, counts whatever botocore made of it
            if exchange.answer is None:
                return self._no_answer(error, exchange)
        finally:
            EXCHANGE.reset(token)
        if exchange.answer is None:
            return Unanswered("garbage", "the call ended without an answer", sent=True)
        return read_answer(exchange.answer, things, time.time())

    def _no_answer(self, error: Exception, exchange: Exchange) -> Unanswered:
        if isinstance(error, TimeoutError):
            return Unanswered("timeout", f"no answer within {self._request_timeout:g} s", sent=exchange.perhaps_sent)
        if isinstance(error, SourceUnreachableError):
            return Unanswered("credentials", str(error), sent=False)
        if isinstance(error, aws.BotoCoreError):
            return unanswered(error, sent=exchange.perhaps_sent)
        raise error  # a fault of ours: not to be taken for the network's


def _answered(response_dict: dict[str, Any], **_: Any) -> None:
    """Keep the raw answer, and spare botocore the reading of it: its own would not be used, and costs time."""
    EXCHANGE.get(Exchange()).answer = Answer(
        response_dict["status_code"], response_dict["headers"], response_dict["body"]
    )
    response_dict["headers"], response_dict["body"] = {}, b"{}"


@asynccontextmanager
async def open_transport(connection: Connection) -> AsyncIterator[AwsTransport]:
    """A transport for as long as the block runs; its credentials are got first, no request is sent to Greengrass.

    Raises:
        UsageError: as `resolve`.
        CredentialsError: there are no credentials.
    """
    target = resolve(connection)
    source = CredentialSource(connection.profile, target.region)
    await source.open()
    session = new_session(connection.profile, target.region)
    session.register_component("credential_provider", source)
    config = client_config(
        connect_timeout=connection.connect_timeout,
        read_timeout=connection.request_timeout,
        max_pool_connections=connection.pool,
        http_session_cls=WatchedSession,
        use_fips_endpoint=connection.use_fips,
        use_dualstack_endpoint=connection.use_dualstack,
        parameter_validation=False,  # names are checked where they enter; botocore's check is weaker and costs time
    )
    async with session.create_client(
        SERVICE,
        region_name=target.region,
        endpoint_url=target.endpoint_url if target.custom else None,
        config=config,
    ) as client:
        client.meta.events.register(f"before-parse.{SERVICE}.{_OPERATION}", _answered)
        yield AwsTransport(client, source, target, connection.request_timeout)
