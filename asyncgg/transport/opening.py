"""Rule: which transport a word stands for is said here, and nowhere else."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Literal, overload

from asyncgg.model import Operation
from asyncgg.transport.aws import AwsTransport, open_aws
from asyncgg.transport.connection import Connection
from asyncgg.transport.fast import FastTransport, open_fast

__all__ = ["Kind", "open_transport"]

Kind = Literal["sdk", "fast"]
"""`sdk`: through the aiobotocore client's own call; `fast`: signed and posted by us, configured by the same client."""


@overload
def open_transport(
    connection: Connection, kind: Literal["sdk"] = "sdk", operation: Operation = ...
) -> AbstractAsyncContextManager[AwsTransport]: ...
@overload
def open_transport(
    connection: Connection, kind: Literal["fast"], operation: Operation = ...
) -> AbstractAsyncContextManager[FastTransport]: ...
@overload
def open_transport(
    connection: Connection, kind: Kind, operation: Operation = ...
) -> AbstractAsyncContextManager[AwsTransport] | AbstractAsyncContextManager[FastTransport]: ...
def open_transport(
    connection: Connection, kind: Kind = "sdk", operation: Operation = Operation.DISASSOCIATE
) -> AbstractAsyncContextManager[AwsTransport] | AbstractAsyncContextManager[FastTransport]:
    """A transport of `operation` for as long as the block runs; its credentials are got first, nothing is sent to
    Greengrass.

    Raises:
        UsageError: as `resolve`; also, with `fast`, a proxy that cannot be used.
        CredentialsError: there are no credentials.
    """
    return open_fast(connection, operation) if kind == "fast" else open_aws(connection, operation)
