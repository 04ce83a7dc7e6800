"""Creates aiobotocore sessions from the AWS configuration of the user, without network access."""

from __future__ import annotations

import copy
import logging
import ssl
from functools import cache
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiobotocore.hooks import AioHierarchicalEmitter
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore import exceptions as aws
from botocore.loaders import Loader, create_loader

from asyncgg.errors import UsageError
from asyncgg.formatting import sanitize
from asyncgg.sharing import share
from asyncgg.transport.aws_settings import check_settings
from asyncgg.transport.role import AssumedRole, AwsIdentity, profile_name

SERVICE: Final = "greengrassv2"

logging.getLogger("aiobotocore").addHandler(logging.NullHandler())  # else Python prints its warnings with tracebacks


def new_session(profile: AwsIdentity, region: str | None = None) -> AioSession:
    """Create a session of `profile` (None: as in the environment) and read its configuration.

    Raises `UsageError` if the profile is unknown, a configuration file cannot be read, or a setting
    has a value that botocore does not accept.
    """
    hooks = copy.copy(_builtin_hooks())
    session = AioSession(profile=profile_name(profile), event_hooks=hooks, include_builtin_handlers=False)
    if region is not None:
        # Credentials that need requests (AssumeRole, SSO) use the same Region.
        session.set_config_variable("region", region)
    try:
        if isinstance(profile, AssumedRole):
            profile.configure(session.full_config.setdefault("profiles", {}))
        session.get_scoped_config()
    except aws.ProfileNotFound as error:
        profiles = ", ".join(sorted(session.full_config.get("profiles", {}))) or "none"
        raise UsageError(
            f"no AWS profile {error.kwargs['profile']!r} in the AWS configuration; known: {profiles}"
        ) from None
    except aws.BotoCoreError as error:
        raise UsageError(f"the AWS configuration cannot be read: {sanitize(error)}") from None
    except OSError as error:
        raise UsageError(f"the AWS configuration cannot be read: {error.filename}: {error.strerror}") from None
    check_settings(session)
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    return session


def describe_client_error(operation: str, error: aws.ClientError) -> str:
    """The error response of an AWS service as one line."""
    details = error.response.get("Error", {})
    return sanitize(f"{operation}: {details.get('Code', '?')}: {details.get('Message', '')}")


@cache
def _builtin_hooks() -> AioHierarchicalEmitter:
    # Copied for each session, because to register botocore's own handlers takes 9 of 10 ms.
    hooks = AioHierarchicalEmitter()
    AioSession(event_hooks=hooks)
    return hooks


@cache
def _loader(data_path: str | None) -> Loader:
    # Cached because each renewal of credentials creates a session, and loading the service models
    # takes long.
    return create_loader(data_path)


def check_ca_bundle(session: AioSession) -> None:
    """Raise `UsageError` if a CA bundle is configured but unusable."""
    bundle = session.get_config_variable("ca_bundle")
    if not isinstance(bundle, str) or not bundle:
        return
    share((check_ca_bundle, bundle), lambda: _load_ca_bundle(bundle))


def _load_ca_bundle(bundle: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
            **({"capath": bundle} if Path(bundle).is_dir() else {"cafile": bundle})
        )
    except OSError as error:  # includes ssl.SSLError
        reason = "it contains no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise UsageError(f"the CA bundle {bundle} (AWS_CA_BUNDLE or ca_bundle) cannot be used: {reason}") from None


class SharedTlsSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore publishes no types
    """An HTTP session that shares its TLS contexts with the others of one command or call."""

    # To read a CA bundle takes 30 ms, and each lane of a campaign has several sessions.

    def _build_ssl_contexts(self, proxy_url: str | None) -> Any:
        # Private: another version of aiobotocore may not call it, and then shares nothing. Whatever
        # else could distinguish two contexts is not configurable in asyncgg.
        key = (SharedTlsSession, self._verify, self._cert_file, self._key_file, proxy_url)
        return share(key, lambda: super(SharedTlsSession, self)._build_ssl_contexts(proxy_url))


class RedirectRefusedError(Exception):
    """Ends a call that received a redirect."""


class NoRedirectSession(SharedTlsSession):
    """An HTTP session that does not follow redirects."""

    # aiohttp would send the session token, which is a header, to the other host, and would turn a
    # POST into a GET.

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        if not session.trace_configs:
            config = self._trace_config()
            config.freeze()
            session.trace_configs.append(config)
        return session

    def _trace_config(self) -> aiohttp.TraceConfig:
        config = aiohttp.TraceConfig()
        config.on_request_redirect.append(_on_redirect)
        return config


async def _on_redirect(_session: object, _context: object, params: aiohttp.TraceRequestRedirectParams) -> None:
    response = params.response
    if {"Location", "URI"} & response.headers.keys():  # without one, S3 names another Region, which botocore calls
        response.close()
        raise RedirectRefusedError(f"HTTP {response.status}")
