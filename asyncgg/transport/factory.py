"""Rule: which transport a word stands for is said here, and nowhere else."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Literal, overload

from asyncgg.models import Operation
from asyncgg.transport.config import ConnectionConfig
from asyncgg.transport.native import NativeTransport, open_native_transport
from asyncgg.transport.sdk import SdkTransport, open_sdk_transport

__all__ = ["TransportKind", "open_transport"]

TransportKind = Literal["sdk", "native"]
"""`sdk`: through the aiobotocore client's own call; `native`: signed and posted by us, configured by the same client."""


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
    """A transport of `operation` for as long as the block runs; its credentials are got first, nothing is sent to
    Greengrass.

    Raises:
        UsageError: as `resolve`; also, with `native`, a proxy that cannot be used.
        CredentialsError: there are no credentials.
    """
    return (
        open_native_transport(connection, operation) if kind == "native" else open_sdk_transport(connection, operation)
    )
