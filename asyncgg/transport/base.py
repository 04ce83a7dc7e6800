"""The interfaces of all transports, without botocore or aiohttp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar, runtime_checkable

from asyncgg.models import ClientDevice, CoreDevice, ErrorResponse, NoResponse, Reply

T = TypeVar("T")

MAX_PAGE_SIZE: Final = 100
"""Largest page [service model: maxResults, 1 to 100].

It is the default because every page costs a request.
"""


class Transport(Protocol):
    """Sends the batches of one `Operation`. One call is one HTTP request and is never repeated."""

    async def send(self, core: str, things: Sequence[str]) -> Reply:
        """Send a batch of `things` (1 to 100 valid thing names) for `core` and return the outcome.

        Every failure of the network or the service is a `Reply`. A 200 becomes `Accepted` only if
        the whole body is readable and names only things of this request.

        Raises:
            CredentialsError: there are no credentials to sign with; the request was not sent.
            asyncio.CancelledError: the caller cancelled; the request may have been sent.
        """


@runtime_checkable
class Refreshable(Protocol):
    """A transport that can renew its credentials; optional."""

    async def refresh(self) -> None:
        """Load new credentials after the service rejected the current ones.

        Concurrent calls share one renewal. Requests in flight are not affected. Raises
        `CredentialsError` if there are no credentials, or the source still returns the rejected
        ones.
        """


@dataclass(frozen=True, slots=True)
class CoreFilter:
    """Filters of ListCoreDevices; an empty field does not filter.

    A core that left the thing group stays in the list of that group: the service goes by
    deployments [service model].
    """

    thing_group_arn: str = ""
    status: str = ""
    """HEALTHY or UNHEALTHY."""
    runtime: str = ""
    """`aws_nucleus_classic`, `aws_nucleus_lite` or a later value of the service."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list."""

    items: tuple[T, ...]
    next_token: str = ""
    """Token of the next page; empty on the last page, which can be empty itself."""
    invalid_names: tuple[str, ...] = ()
    """Invalid names in printable form; their items are not in `items`."""
    request_id: str = ""


class ListingTransport(Protocol):
    """Lists cores and client devices. One call is one HTTP request and is never repeated.

    Every failure of the network or the service is a value. A `Page` comes only from a 200 whose
    whole body is readable and follows the service model. Both methods raise `CredentialsError` if
    there are no credentials to sign with (the request was not sent), and `asyncio.CancelledError`.
    """

    async def list_cores(
        self, token: str, filters: CoreFilter, limit: int = MAX_PAGE_SIZE
    ) -> Page[CoreDevice] | ErrorResponse | NoResponse:
        """Get a page of ListCoreDevices with `limit` cores at most; `token` is empty for the first."""

    async def list_client_devices(self, core: str, token: str) -> Page[ClientDevice] | ErrorResponse | NoResponse:
        """Get a page of ListClientDevicesAssociatedWithCoreDevice; `token` as for `list_cores`."""
