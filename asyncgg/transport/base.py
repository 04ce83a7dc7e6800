"""Rule: what every transport promises lives here, and nothing of how one keeps it: no botocore, no aiohttp.

The engine knows transports by these protocols only, so that a second one can take the place of the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from asyncgg.models import Reply

__all__ = ["Refreshable", "Transport"]


class Transport(Protocol):
    """One way to send the requests of one `Operation`: one call is one HTTP request, never repeated."""

    async def send(self, core: str, things: Sequence[str]) -> Reply:
        """Ask for it for `things` (1 to 100 valid thing names) of `core`, and tell what became of the request.

        Whatever the network or the service does is a `Reply`. A 200 is `Accepted` only if its body could be read
        whole and speaks of nothing but things of this request.

        Raises:
            CredentialsError: there was nothing to sign the request with; it was not sent.
            asyncio.CancelledError: the caller cancelled; the request may have been sent.
        """
        ...


@runtime_checkable
class Refreshable(Protocol):
    """A transport whose credentials can be renewed; optional."""

    async def refresh(self) -> None:
        """Get new credentials from their source, after the service refused the present ones.

        Calls that wait for a renewal already under way share it. Requests in flight are not disturbed.

        Raises:
            CredentialsError: there are none, or the source still gives the ones that were refused.
        """
        ...
