"""Rule: where requests go is decided here, from the caller's wishes and the AWS configuration, without any network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from aiobotocore.session import AioSession
from botocore import exceptions as aws
from botocore.endpoint_provider import EndpointProvider
from botocore.utils import is_valid_endpoint_url, is_valid_ipv6_endpoint_url, validate_region_name

from asyncgg.errors import UsageError
from asyncgg.transport.failures import sanitize
from asyncgg.transport.session import SERVICE, check_ca_bundle, new_session

__all__ = ["ConnectionConfig", "Endpoint", "configured_endpoint", "resolve_endpoint"]

DEFAULT_CUSTOM_REGION: Final = "us-east-1"
"""Signs requests to a custom endpoint when no Region was named; the endpoint decides whether it cares."""


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """How to reach AWS; None leaves it to the AWS configuration, where proxies and CA bundles always come from."""

    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    connect_timeout: float = 5.0
    """Seconds until a connection stands."""
    request_timeout: float = 60.0
    """Seconds for a whole request; one that takes longer is cut and counts as perhaps sent."""
    max_connections: int = 10
    """Most connections at the same time."""
    use_fips: bool | None = None
    use_dualstack: bool | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go."""

    region: str
    url: str
    custom: bool
    """The endpoint was named by the caller or the configuration; then nothing is called elsewhere."""
    partition: str
    """`aws`, `aws-cn`, `aws-us-gov`, ...; empty for a Region no partition knows."""
    source: str
    """What named the endpoint: `endpoint_url`, an environment variable, `profile`, or `aws`."""


def resolve_endpoint(connection: ConnectionConfig) -> Endpoint:
    """The Region and the endpoint by which `connection` reaches Greengrass V2; nothing is sent.

    Region: the one given, AWS_REGION, AWS_DEFAULT_REGION, the profile's; with a custom endpoint us-east-1 after these.
    Endpoint: the one given, AWS_ENDPOINT_URL_GREENGRASSV2, AWS_ENDPOINT_URL, the profile's `services` section, the
    profile's `endpoint_url`, the rules AWS publishes (those of botocore).
    [AWS SDKs reference guide: service-specific endpoints]

    Raises:
        UsageError: no Region, an unknown profile, a configuration or URL that cannot be used.
    """
    session = new_session(connection.profile)
    check_ca_bundle(session)
    explicit_url = connection.endpoint_url or None
    source, url = ("endpoint_url", explicit_url) if explicit_url else configured_endpoint(session, SERVICE)
    if url is not None:
        _check_url(url, source)
    region = _region(connection, session, custom=url is not None)
    try:
        partition = str(session.get_partition_for_region(region))
    except aws.UnknownRegionError:
        partition = ""
    aws_url = _from_ruleset(connection, session, region, url)
    return Endpoint(region, aws_url if url is None else url, url is not None, partition, source)


def _region(connection: ConnectionConfig, session: AioSession, *, custom: bool) -> str:
    # botocore itself does not know AWS_REGION.
    region = connection.region or os.environ.get("AWS_REGION") or session.get_config_variable("region")
    if not region and custom:
        return DEFAULT_CUSTOM_REGION
    if not region:
        raise UsageError("no AWS Region: give --region, set AWS_REGION, or set `region` in the profile")
    try:
        validate_region_name(region)
    except aws.InvalidRegionError:
        raise UsageError(f"{region!r} is no AWS Region's name") from None
    return str(region)


def configured_endpoint(
    session: AioSession, service: str, *, service_specific_only: bool = False
) -> tuple[str, str | None]:
    """What the configuration names as the endpoint of `service`: (where it stands, URL), or (`aws`, None).

    With `service_specific_only` the settings for all services together do not count.
    """
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return "aws", None
    profile: Mapping[str, Any] = session.get_scoped_config()
    variable = f"AWS_ENDPOINT_URL_{service.upper()}"
    candidates = (
        (True, variable, os.environ.get(variable)),
        (False, "AWS_ENDPOINT_URL", os.environ.get("AWS_ENDPOINT_URL")),
        (True, "profile", _services_section(session, profile).get(service, {}).get("endpoint_url")),
        (False, "profile", profile.get("endpoint_url")),
    )
    matches = (
        (origin, str(url))
        for service_specific, origin, url in candidates
        if url and (service_specific or not service_specific_only)
    )
    return next(matches, ("aws", None))


def _services_section(session: AioSession, profile: Mapping[str, Any]) -> Mapping[str, Any]:
    name = profile.get("services")
    if name is None:
        return {}
    section = session.full_config.get("services", {}).get(name)
    if not isinstance(section, dict):
        raise UsageError(f"the AWS profile names the section [services {name}], which the configuration does not have")
    return {key: value for key, value in section.items() if isinstance(value, dict)}


def _check_url(url: str, source: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for one that is no number
    except ValueError as error:
        raise UsageError(f"the endpoint URL (from {source}) cannot be read: {sanitize(error)}") from None
    if parts.username or parts.password:
        raise UsageError(f"the endpoint URL (from {source}) must not hold a user name or password")
    valid = is_valid_endpoint_url(url) or is_valid_ipv6_endpoint_url(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not valid or parts.query or parts.fragment:
        raise UsageError(f"{sanitize(url)!r} (from {source}) is no endpoint URL; wanted: http(s)://host[:port]")


def _from_ruleset(connection: ConnectionConfig, session: AioSession, region: str, url: str | None) -> str:
    loader = session.get_component("data_loader")
    ruleset = loader.load_service_model(SERVICE, "endpoint-rule-set-1")
    flags = {
        name: session.get_config_variable(variable) if override is None else override
        for name, variable, override in (
            ("UseFIPS", "use_fips_endpoint", connection.use_fips),
            ("UseDualStack", "use_dualstack_endpoint", connection.use_dualstack),
        )
    }
    parameters: dict[str, Any] = {"Region": region} | {name: bool(flag) for name, flag in flags.items()}
    if url is not None:
        parameters["Endpoint"] = url
    try:
        return str(EndpointProvider(ruleset, loader.load_data("partitions")).resolve_endpoint(**parameters).url)
    except aws.EndpointProviderError as error:
        raise UsageError(f"AWS has no such endpoint for Region {region}: {sanitize(error)}") from None
