"""Opens the transport of a given kind."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Literal

from asyncgg.models import Operation
from asyncgg.transport.config import ConnectionConfig
from asyncgg.transport.native import open_native_transport
from asyncgg.transport.sdk import open_sdk_transport
from asyncgg.transport.signed_base import BaseTransport

TransportKind = Literal["sdk", "native"]
"""`sdk`: sent by the aiobotocore client; `native`: signed and sent by asyncgg."""


def open_transport(
    connection: ConnectionConfig, kind: TransportKind = "sdk", operation: Operation = Operation.DISASSOCIATE
) -> AbstractAsyncContextManager[BaseTransport]:
    """Open a transport of `operation` for the duration of the block.

    Opening loads the credentials. It sends no request to Greengrass.

    Raises:
        UsageError: see `resolve_endpoint`.
        CredentialsError: there are no credentials.
    """
    return (open_native_transport if kind == "native" else open_sdk_transport)(connection, operation)
