"""Opens the transport of a given kind."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from typing import Literal

import aiobotocore
import aiohttp

from asyncgg.models import Operation
from asyncgg.transport.config import ConnectionConfig
from asyncgg.transport.native import IncompatibleLibraryError, open_native_transport
from asyncgg.transport.sdk import open_sdk_transport
from asyncgg.transport.signed_base import BaseTransport

TransportKind = Literal["sdk", "native"]
"""`sdk`: sent by the aiobotocore client; `native`: signed and sent by asyncgg."""


@asynccontextmanager
async def open_transport(
    connection: ConnectionConfig, kind: TransportKind = "sdk", operation: Operation = Operation.DISASSOCIATE
) -> AsyncIterator[BaseTransport]:
    """Open a transport of `operation` for the duration of the block.

    Opening loads the credentials. It sends no request to Greengrass. Where the installed libraries
    do not allow `native`, it is `sdk`, with one warning.

    Raises:
        UsageError: see `resolve_endpoint`.
        CredentialsError: there are no credentials.
    """
    async with AsyncExitStack() as stack:
        transport: BaseTransport | None = None
        if kind == "native":
            try:
                transport = await stack.enter_async_context(open_native_transport(connection, operation))
            except IncompatibleLibraryError as error:
                _warn_of_fallback(str(error))
        if transport is None:
            transport = await stack.enter_async_context(open_sdk_transport(connection, operation))
        yield transport


@cache
def _warn_of_fallback(reason: str) -> None:
    logging.getLogger("asyncgg").warning(
        "warning: aiobotocore %s and aiohttp %s do not allow --transport native (%s);"
        " using sdk, which needs more CPU time",
        aiobotocore.__version__,
        aiohttp.__version__,
        reason,
    )
