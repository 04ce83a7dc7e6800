"""Opens the transport of a given kind."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Literal, overload

from asyncgg.models import Operation
from asyncgg.transport.config import ConnectionConfig
from asyncgg.transport.native import NativeTransport, open_native_transport
from asyncgg.transport.sdk import SdkTransport, open_sdk_transport

TransportKind = Literal["sdk", "native"]
"""`sdk`: sent by the aiobotocore client; `native`: signed and sent by asyncgg."""


@overload
def open_transport(
    connection: ConnectionConfig, kind: Literal["sdk"] = "sdk", operation: Operation = ...
) -> AbstractAsyncContextManager[SdkTransport]: ...
@overload
def open_transport(
    connection: ConnectionConfig, kind: Literal["native"], operation: Operation = ...
) -> AbstractAsyncContextManager[NativeTransport]: ...
@overload
def open_transport(
    connection: ConnectionConfig, kind: TransportKind, operation: Operation = ...
) -> AbstractAsyncContextManager[SdkTransport] | AbstractAsyncContextManager[NativeTransport]: ...
def open_transport(
    connection: ConnectionConfig, kind: TransportKind = "sdk", operation: Operation = Operation.DISASSOCIATE
) -> AbstractAsyncContextManager[SdkTransport] | AbstractAsyncContextManager[NativeTransport]:
    """Open a transport of `operation` for the duration of the block.

    Opening loads the credentials. It sends no request to Greengrass.

    Raises:
        UsageError: see `resolve_endpoint`; with `native` also for an unusable proxy.
        CredentialsError: there are no credentials.
    """
    if kind == "native":
        return open_native_transport(connection, operation)
    return open_sdk_transport(connection, operation)
