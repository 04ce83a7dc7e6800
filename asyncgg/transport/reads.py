"""Rule: what every reader of the service's lists promises lives here, and nothing of how: no botocore, no aiohttp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from asyncgg.models import ClientDevice, CoreDevice, ErrorResponse, NoResponse

__all__ = ["MAX_PAGE_SIZE", "CoreFilter", "ListingTransport", "Page"]

T = TypeVar("T")

MAX_PAGE_SIZE: Final = 100
"""Items of a page at most [service model: maxResults, 1 to 100]; as a rule asked for, since a page costs a request."""


@dataclass(frozen=True, slots=True)
class CoreFilter:
    """Which core devices ListCoreDevices is to tell; what is empty filters nothing.

    [service model] A core that left the thing group stays in that group's list: the service goes by deployments.
    """

    thing_group_arn: str = ""
    status: str = ""
    """HEALTHY or UNHEALTHY."""
    runtime: str = ""
    """`aws_nucleus_classic` or `aws_nucleus_lite`, or whatever the service knows by then."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list."""

    items: tuple[T, ...]
    next_token: str = ""
    """What the next page is asked with; empty after the last one, which may itself be empty."""
    invalid_names: tuple[str, ...] = ()
    """What stood where a name should be and is none, fit to be shown; such items are not among `items`."""
    request_id: str = ""


class ListingTransport(Protocol):
    """One way to ask for pages: one call is one HTTP request, never repeated.

    Whatever the network or the service does is a value. A `Page` is only made of a 200 whose body could be read whole
    and has the members of the service model. Both calls raise `CredentialsError` when there was nothing to sign the
    request with (it was not sent), and `asyncio.CancelledError`.
    """

    async def list_cores(
        self, token: str, filters: CoreFilter, limit: int = MAX_PAGE_SIZE
    ) -> Page[CoreDevice] | ErrorResponse | NoResponse:
        """A page of ListCoreDevices, `limit` (1 to 100) cores at most; `token` is empty for the first."""
        ...

    async def list_client_devices(self, core: str, token: str) -> Page[ClientDevice] | ErrorResponse | NoResponse:
        """A page of ListClientDevicesAssociatedWithCoreDevice of a valid name; `token` is empty for the first."""
        ...
