"""Checks AWS settings before botocore uses them, and names the source of a wrong value."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from aiobotocore.session import AioSession
from botocore import args
from botocore.configloader import raw_config_parse
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES, DEFAULT_S3_CONFIG_VARS
from botocore.exceptions import ConfigNotFound
from botocore.utils import METADATA_ENDPOINT_MODES, get_environ_proxies, is_valid_uri

from asyncgg.errors import UsageError
from asyncgg.formatting import sanitize


@dataclass(frozen=True, slots=True)
class _Rule:
    """The values that botocore accepts for a setting; for others it raises many kinds of exceptions."""

    allowed: str
    accepts: Callable[[str], bool]


def _one_of(*values: str, ignore_case: bool = True) -> _Rule:
    return _Rule(", ".join(filter(None, values)), lambda text: (text.lower() if ignore_case else text) in values)


def _integer(minimum: int, maximum: int | None = None) -> _Rule:
    def accepts(text: str) -> bool:
        try:
            return minimum <= int(text) and (maximum is None or int(text) <= maximum)
        except ValueError:
            return False

    return _Rule(f"an integer, {minimum} or more" if maximum is None else f"{minimum} to {maximum}", accepts)


_RULES: Final = {
    "account_id_endpoint_mode": _one_of(*args.VALID_ACCOUNT_ID_ENDPOINT_MODE_CONFIG),
    "csm_port": _integer(0),
    "defaults_mode": _one_of("legacy", "auto", "standard", "in-region", "cross-region", "mobile"),
    "ec2_metadata_service_endpoint": _Rule("a URL", lambda text: not text or is_valid_uri(text)),
    "ec2_metadata_service_endpoint_mode": _one_of(*METADATA_ENDPOINT_MODES),
    "max_attempts": _integer(1),
    "metadata_service_num_attempts": _integer(0),
    "metadata_service_timeout": _integer(0),
    "request_checksum_calculation": _one_of(*args.VALID_REQUEST_CHECKSUM_CALCULATION_CONFIG),
    "request_min_compression_size_bytes": _integer(1, 1_048_576),
    "response_checksum_validation": _one_of(*args.VALID_RESPONSE_CHECKSUM_VALIDATION_CONFIG),
    "retry_mode": _one_of("legacy", "standard", "adaptive", ignore_case=False),
    "s3_disable_express_session_auth": _one_of("true", "false"),
    "sts_regional_endpoints": _one_of("", *args.VALID_REGIONAL_ENDPOINTS_CONFIG, ignore_case=False),
    "addressing_style": _one_of("auto", "virtual", "path", ignore_case=False),
    "us_east_1_regional_endpoint": _one_of(*args.VALID_REGIONAL_ENDPOINTS_CONFIG, ignore_case=False),
}
_ANY_TEXT: Final = _Rule("one value, on the line of the key", lambda _: True)
_SECTIONS: Final = ("api_versions", "s3")
_FURTHER_KEYS: Final = ("endpoint_url", "services", "sso_session")
"""Keys of a profile that botocore reads without a session variable."""


def check_settings(session: AioSession) -> None:
    """Raise `UsageError` for a setting with a value that botocore does not accept."""
    for name in (*BOTOCORE_DEFAUT_SESSION_VARIABLES, *_S3_NAMES, *_FURTHER_KEYS):
        value, source = find_setting(session, name)
        rule = _RULES.get(name, _ANY_TEXT)
        if name in _SECTIONS or value is None or (isinstance(value, str) and rule.accepts(value)):
            continue
        raise _invalid(source, value if isinstance(value, str) else "a section of keys", rule.allowed)
    for name in _SECTIONS:
        value, source = find_setting(session, name)
        if value and isinstance(value, str):
            raise _invalid(source, value, "a section of indented keys")
    value, source = find_setting(session, "sso_session")
    if value is not None and value not in (known := session.full_config.get("sso_sessions", {})):
        raise _invalid(source, value, f"the name of an [sso-session] section ({', '.join(sorted(known)) or 'none'})")


def _invalid(source: str, value: str, allowed: str) -> UsageError:
    return UsageError(f"invalid AWS setting {source}: {sanitize(value)!r}; allowed: {allowed}")


_S3_NAMES: Final = ("addressing_style", "us_east_1_regional_endpoint")


def find_setting(session: AioSession, name: str) -> tuple[Any, str]:
    """Get the configured value of a setting as text or section, and its variable or its key and file.

    The value is None if the setting is not configured.
    """
    variables = BOTOCORE_DEFAUT_SESSION_VARIABLES | {name: DEFAULT_S3_CONFIG_VARS[name] for name in _S3_NAMES}
    keys, environment, *_ = variables.get(name, (name, None))
    for variable in [environment] if isinstance(environment, str) else environment or ():
        if variable in os.environ:
            return os.environ[variable], variable
    profile = session.get_scoped_config()
    for key in keys if isinstance(keys, list) else [keys]:
        section, nested = key if isinstance(key, tuple) else (key, None)
        value = profile.get(section)
        if nested is not None:
            value = value.get(nested) if isinstance(value, dict) else None
        if value is not None:
            name = session.get_config_variable("profile") or "default"
            return value, f"{nested or section} in {file_of(session, section, name)}"
    return None, ""


def file_of(session: AioSession, key: str, profile: str) -> str:
    """Get file and section of a key of `profile`; the credentials file has precedence."""
    path = session.get_config_variable("credentials_file")
    try:
        if key in raw_config_parse(path).get(profile, {}):
            return f"{path} [{profile}]"
    except ConfigNotFound:
        pass
    section = profile if profile == "default" else f"profile {profile}"
    return f"{session.get_config_variable('config_file')} [{section}]"


def check_proxy(url: str) -> None:
    """Raise `UsageError` if requests to `url` go through a proxy that cannot be used, such as SOCKS."""
    scheme = urlsplit(url).scheme
    proxy = get_environ_proxies(url).get(scheme)
    if not proxy:
        return
    names = [name for name in sorted(os.environ, reverse=True) if name.lower() == f"{scheme}_proxy"]
    source = names[0] if names else "the proxy of this system"
    try:
        parts = urlsplit(proxy if "://" in proxy else f"//{proxy.removeprefix('//')}")
        _ = parts.port  # raises if it is not a number
    except ValueError as error:
        raise UsageError(f"invalid proxy URL in {source}: {sanitize(error)}") from None
    if parts.scheme not in {"", "http", "https"}:
        raise UsageError(
            f"{source}: proxies of type {parts.scheme} are not supported; set an HTTP proxy, unset it, or use NO_PROXY"
        )
    if not parts.hostname:
        raise UsageError(f"invalid proxy URL in {source}: no host; expected http://host:port")
