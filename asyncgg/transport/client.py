"""Opens the aiobotocore client that every transport uses."""

# It provides profiles, SSO, assumed roles, endpoint rule sets, proxies and CA bundles. Opening
# sends no request.

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiobotocore.httpsession import AIOHTTPSession
from botocore import xform_name

from asyncgg.models import Operation
from asyncgg.transport.config import ConnectionConfig, Endpoint, resolve_endpoint
from asyncgg.transport.credentials import CredentialSource
from asyncgg.transport.session import SERVICE, client_config, new_session

__all__ = ["OpenClient", "open_client"]


@dataclass(frozen=True, slots=True)
class OpenClient:
    """An open client with its credentials and endpoint."""

    client: Any
    source: CredentialSource
    endpoint: Endpoint

    def method_for(self, operation: Operation) -> Any:
        """Get the method of the client for `operation`."""
        return getattr(self.client, xform_name(operation.api))


@asynccontextmanager
async def open_client(connection: ConnectionConfig, http_session: type[AIOHTTPSession]) -> AsyncIterator[OpenClient]:
    """Load the credentials and open a client that sends through `http_session`.

    Raises:
        UsageError: see `resolve_endpoint`.
        CredentialsError: there are no credentials.
    """
    endpoint = resolve_endpoint(connection)
    source = CredentialSource(connection.profile, endpoint.region)
    await source.open()
    session = new_session(connection.profile, endpoint.region)
    session.register_component("credential_provider", source)
    config = client_config(
        connect_timeout=connection.connect_timeout,
        read_timeout=connection.request_timeout,
        max_pool_connections=connection.max_connections,
        http_session_cls=http_session,
        use_fips_endpoint=connection.use_fips,
        use_dualstack_endpoint=connection.use_dualstack,
        parameter_validation=False,  # names are validated on input; botocore's check is weaker and slow
    )
    async with session.create_client(
        SERVICE,
        region_name=endpoint.region,
        endpoint_url=endpoint.url if endpoint.custom else None,
        config=config,
    ) as client:
        yield OpenClient(client, source, endpoint)
