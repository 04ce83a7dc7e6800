"""Resolves Region and endpoint from arguments and the AWS configuration, without network access."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import chain
from typing import Any, Final
from urllib.parse import urlsplit

from aiobotocore.session import AioSession
from botocore import exceptions as aws
from botocore.endpoint_provider import EndpointProvider
from botocore.regions import EndpointResolver
from botocore.utils import is_valid_uri, validate_region_name

from asyncgg.errors import UsageError
from asyncgg.formatting import sanitize
from asyncgg.transport.aws_settings import check_proxy, find_setting
from asyncgg.transport.role import AwsIdentity
from asyncgg.transport.session import SERVICE, check_ca_bundle, new_session

_ENDPOINT_PREFIX: Final = "greengrass"
"""Greengrass in the endpoint data of botocore [service model: endpointPrefix]."""
DEFAULT_CUSTOM_REGION: Final = "us-east-1"
"""Region of signatures for a custom endpoint if none is configured."""


class NoRegionError(UsageError):
    """No Region is configured; not an error for a plan."""


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """How to reach AWS; None means as in the AWS configuration."""

    profile: AwsIdentity = None
    region: str | None = None
    endpoint_url: str | None = None
    connect_timeout: float = 5.0
    """TCP connect timeout, seconds."""
    request_timeout: float = 60.0
    """Total request timeout, seconds; a request that exceeds it counts as possibly sent."""
    max_connections: int = 10
    """Maximum number of concurrent connections."""
    allow_unknown_region: bool = False
    """Accept a Region that botocore does not know."""
    use_fips: bool | None = None
    use_dualstack: bool | None = None
    deadline: float | None = None
    """Seconds within which the first credentials must be there."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The resolved destination of requests."""

    region: str
    url: str
    custom: bool
    """The endpoint comes from the caller or the configuration; no other host is called then."""
    partition: str
    """`aws`, `aws-cn`, `aws-us-gov`, ...; empty for an unknown Region."""
    source: str
    """Origin of the endpoint: `endpoint_url`, an environment variable, `profile` or `aws`."""


def resolve_endpoint(connection: ConnectionConfig) -> Endpoint:
    """Resolve the Region and the Greengrass V2 endpoint of `connection`.

    Order for the Region: the argument, AWS_REGION, AWS_DEFAULT_REGION, the profile; then us-east-1
    with a custom endpoint. Order for the endpoint: the argument, AWS_ENDPOINT_URL_GREENGRASSV2,
    AWS_ENDPOINT_URL, the `services` section of the profile, its `endpoint_url`, the endpoint rule
    set of AWS in botocore. [AWS SDKs reference guide: service-specific endpoints]

    Raises:
        NoRegionError: no Region is configured.
        UsageError: the Region or the profile is unknown, or configuration, URL or proxy are unusable.
    """
    session = new_session(connection.profile)
    check_ca_bundle(session)
    source, url = custom_endpoint(session, SERVICE, connection.endpoint_url, connection)
    region = _region(connection, session, custom=url is not None)
    try:
        partition = str(session.get_partition_for_region(region))
    except aws.UnknownRegionError:
        partition = ""
    resolved_url = url or _from_ruleset(connection, session, region)
    check_proxy(resolved_url)
    return Endpoint(region, resolved_url, url is not None, partition, source)


def _region(connection: ConnectionConfig, session: AioSession, *, custom: bool) -> str:
    # botocore does not read AWS_REGION.
    candidates = (
        (connection.region, ""),
        (os.environ.get("AWS_REGION"), " (AWS_REGION)"),
        (session.get_config_variable("region"), f" ({find_setting(session, 'region')[1]})"),
    )
    region, source = next(((str(region), source) for region, source in candidates if region), ("", ""))
    if not region and custom:
        return DEFAULT_CUSTOM_REGION
    if not region:
        raise NoRegionError("no AWS Region: give --region, set AWS_REGION, or set `region` in the profile")
    if not (custom or connection.allow_unknown_region):
        _check_region(region, source, session)
    try:
        validate_region_name(region)
    except aws.InvalidRegionError:
        raise UsageError(f"invalid AWS Region {region!r}{source}") from None
    return region


def _check_region(region: str, source: str, session: AioSession) -> None:
    loader = session.get_component("data_loader")
    partitions = loader.load_data("partitions")["partitions"]
    if any(region in partition["regions"] for partition in partitions):
        return
    endpoints = EndpointResolver(loader.load_data("endpoints"))
    available = (endpoints.get_available_endpoints(_ENDPOINT_PREFIX, partition["id"]) for partition in partitions)
    nearest = max(sorted(chain(*available)), key=lambda name: SequenceMatcher(None, region.lower(), name).ratio())
    raise UsageError(
        f"unknown AWS Region {region!r}{source}; did you mean {nearest}?"
        " If it is newer than this AWS SDK, pass --allow-unknown-region"
    )


_VARIANTS: Final = (
    ("UseFIPS", "use_fips_endpoint", "use_fips"),
    ("UseDualStack", "use_dualstack_endpoint", "use_dualstack"),
)
"""Endpoints of AWS: the parameter of the rule set, the setting, the attribute of `ConnectionConfig`."""


def custom_endpoint(
    session: AioSession, service: str, explicit_url: str | None, connection: ConnectionConfig
) -> tuple[str, str | None]:
    """Get `explicit_url` or the configured endpoint of `service`, as `configured_endpoint`.

    Raises `UsageError` if the URL is invalid, or if a FIPS or dual-stack endpoint is wanted as well.
    """
    source, url = ("endpoint_url", explicit_url) if explicit_url else configured_endpoint(session, service)
    if url is None:
        return source, None
    _check_url(url, source)
    for _, setting, attribute in _VARIANTS:
        override = getattr(connection, attribute)
        if session.get_config_variable(setting) if override is None else override:
            name = attribute if override else find_setting(session, setting)[1]
            raise UsageError(f"{setting} does not work with a custom endpoint ({url} from {source}): unset {name}")
    return source, url


def configured_endpoint(
    session: AioSession, service: str, *, service_specific_only: bool = False
) -> tuple[str, str | None]:
    """Get the configured endpoint of `service` as (origin, URL), or (`aws`, None) without one.

    `service_specific_only` ignores endpoints configured for all services.
    """
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return "aws", None
    profile: Mapping[str, Any] = session.get_scoped_config()
    service = service.replace("-", "_")
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


def other_service_endpoint(connection: ConnectionConfig, service: str, alternative: str = "") -> str | None:
    """The endpoint of another AWS service; None for that of AWS.

    In this order: AWS_ENDPOINT_URL_<SERVICE> or the section of the service in the profile; unless
    another `endpoint_url` is given, AWS_ENDPOINT_URL or the profile's `endpoint_url`. Raises `UsageError` if
    only Greengrass has a custom endpoint; the message also names the `alternative` to the variable.
    """
    session, name = new_session(connection.profile), service.upper().replace("-", "_")
    url = configured_endpoint(session, service, service_specific_only=True)[1]
    if url is None:
        general = configured_endpoint(session, service)[1]
        url = general if connection.endpoint_url in (None, general) else None  # a journal restores the same one
    if url is None and custom_endpoint(session, SERVICE, connection.endpoint_url, connection)[1] is not None:
        raise UsageError(
            f"{name} is not called at AWS, because Greengrass has a custom endpoint; set AWS_ENDPOINT_URL_{name}"
            f"{alternative}"
        )
    return url


def _services_section(session: AioSession, profile: Mapping[str, Any]) -> Mapping[str, Any]:
    name = profile.get("services")
    if name is None:
        return {}
    section = session.full_config.get("services", {}).get(name)
    if not isinstance(section, dict):
        raise UsageError(f"the AWS profile refers to the section [services {name}], which does not exist")
    for key, value in section.items():
        if not isinstance(value, dict):
            raise UsageError(f"[services {name}] of the AWS configuration: {key} must be a section of indented keys")
    return section


def _check_url(url: str, source: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is not a number
    except ValueError as error:
        raise UsageError(f"invalid endpoint URL (from {source}): {sanitize(error)}") from None
    if parts.username or parts.password:
        raise UsageError(f"the endpoint URL (from {source}) must not contain a user name or password")
    valid = parts.scheme in {"http", "https"} and parts.hostname and is_valid_uri(url)
    if not valid or parts.query or parts.fragment:
        raise UsageError(f"invalid endpoint URL {sanitize(url)!r} (from {source}); expected http(s)://host[:port]")


def _from_ruleset(connection: ConnectionConfig, session: AioSession, region: str) -> str:
    loader = session.get_component("data_loader")
    ruleset = loader.load_service_model(SERVICE, "endpoint-rule-set-1")
    parameters: dict[str, Any] = {"Region": region}
    for name, setting, attribute in _VARIANTS:
        override = getattr(connection, attribute)
        parameters[name] = bool(session.get_config_variable(setting) if override is None else override)
    try:
        return str(EndpointProvider(ruleset, loader.load_data("partitions")).resolve_endpoint(**parameters).url)
    except aws.EndpointProviderError as error:
        raise UsageError(f"no Greengrass V2 endpoint for Region {region}: {sanitize(error)}") from None
