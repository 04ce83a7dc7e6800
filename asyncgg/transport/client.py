"""Opens aiobotocore clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from botocore import xform_name
from botocore.exceptions import BotoCoreError

from asyncgg.errors import UsageError
from asyncgg.formatting import sanitize
from asyncgg.models import Operation
from asyncgg.transport.aws_settings import check_proxy
from asyncgg.transport.config import ConnectionConfig, Endpoint, custom_endpoint, resolve_endpoint
from asyncgg.transport.credentials import CredentialSource, open_source
from asyncgg.transport.session import SERVICE, NoRedirectSession, new_session


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

    Raises `UsageError` as `resolve_endpoint`, and `CredentialsError` if there are no credentials.
    """
    endpoint = resolve_endpoint(connection)
    async with open_service_client(
        SERVICE,
        connection,
        endpoint.region,
        endpoint.url if endpoint.custom else None,
        max_pool_connections=connection.max_connections,
        http_session_cls=http_session,
        parameter_validation=False,  # names are validated on input; botocore's check is weaker and slow
    ) as (client, source):
        yield OpenClient(client, source, endpoint)


@asynccontextmanager
async def open_service_client(
    service: str,
    connection: ConnectionConfig,
    region: str | None,
    endpoint_url: str | None,
    *,
    attempts: int = 1,
    **settings: Any,
) -> AsyncIterator[tuple[Any, CredentialSource]]:
    """Load the credentials and open a client of any AWS service; None is the endpoint of AWS.

    `attempts` is 1 by default, because the engine retries; `settings` override those of
    `connection` in the configuration of the client. Raises `UsageError` for whatever is wrong with
    the AWS configuration, and `CredentialsError` if there are no credentials.
    """
    from asyncgg import __version__  # not at the top: `asyncgg` itself may still be importing this module

    session = new_session(connection.profile, region)
    custom_endpoint(session, service, endpoint_url, connection)
    source = await open_source(connection.profile, region, connection.deadline)
    session.register_component("credential_provider", source)
    defaults: dict[str, Any] = {
        "connect_timeout": connection.connect_timeout,
        "read_timeout": connection.request_timeout,
        "http_session_cls": NoRedirectSession,
        "use_fips_endpoint": connection.use_fips,
        "use_dualstack_endpoint": connection.use_dualstack,
    }
    config = AioConfig(
        retries={"total_max_attempts": attempts, "mode": "standard"},
        user_agent_extra=f"asyncgg/{__version__}",
        **defaults | settings,
    )
    async with AsyncExitStack() as stack:
        try:
            opening = session.create_client(service, region_name=region, endpoint_url=endpoint_url, config=config)
            client = await stack.enter_async_context(opening)
        except Exception as error:  # noqa: BLE001 - botocore raises anything for a configuration that it cannot use
            reason = (
                sanitize(error) if isinstance(error, BotoCoreError) else sanitize(f"{type(error).__name__}: {error}")
            )
            files = f"{session.get_config_variable('config_file')} and the AWS_* variables"
            raise UsageError(f"the AWS configuration cannot be used for {service}: {reason}; check {files}") from None
        check_proxy(client.meta.endpoint_url)
        yield client, source
