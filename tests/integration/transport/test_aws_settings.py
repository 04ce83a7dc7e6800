"""Tests of wrong values in the AWS configuration: settings, endpoints of AWS, and proxies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES, DEFAULT_S3_CONFIG_VARS

from asyncgg.errors import CredentialsError, UsageError
from asyncgg.transport import ConnectionConfig, open_transport, resolve_endpoint
from asyncgg.transport.client import open_service_client

CONNECTION = ConnectionConfig(region="eu-west-1")


async def open_client(service: str = "sts") -> None:
    """Open and close a client, without a request."""
    resolve_endpoint(CONNECTION)
    async with open_service_client(service, CONNECTION, CONNECTION.region, None):
        pass


# --- settings ---

CHECKSUMS = "when_supported, when_required"
REGIONAL = "legacy, regional"
REJECTED = [
    ("AWS_ACCOUNT_ID_ENDPOINT_MODE", "account_id_endpoint_mode", "preferred, disabled, required"),
    ("AWS_CSM_PORT", "csm_port", "an integer, 0 or more"),
    ("AWS_DEFAULTS_MODE", "defaults_mode", "legacy, auto, standard, in-region, cross-region, mobile"),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "ec2_metadata_service_endpoint", "a URL"),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ec2_metadata_service_endpoint_mode", "ipv4, ipv6"),
    ("AWS_MAX_ATTEMPTS", "max_attempts", "an integer, 1 or more"),
    ("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "metadata_service_num_attempts", "an integer, 0 or more"),
    ("AWS_METADATA_SERVICE_TIMEOUT", "metadata_service_timeout", "an integer, 0 or more"),
    ("AWS_REQUEST_CHECKSUM_CALCULATION", "request_checksum_calculation", CHECKSUMS),
    ("AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", "request_min_compression_size_bytes", "1 to 1048576"),
    ("AWS_RESPONSE_CHECKSUM_VALIDATION", "response_checksum_validation", CHECKSUMS),
    ("AWS_RETRY_MODE", "retry_mode", "legacy, standard, adaptive"),
    ("AWS_S3_DISABLE_EXPRESS_SESSION_AUTH", "s3_disable_express_session_auth", "true, false"),
    ("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "s3_us_east_1_regional_endpoint", REGIONAL),
    ("AWS_STS_REGIONAL_ENDPOINTS", "sts_regional_endpoints", REGIONAL),
]


@pytest.mark.parametrize(("variable", "key", "allowed"), REJECTED)
def test_resolve_endpoint_invalid_setting_raises_with_source_and_allowed_values(
    home: Path, monkeypatch: pytest.MonkeyPatch, variable: str, key: str, allowed: str
) -> None:
    """The message names the variable, or the key with its file and section, and what is allowed."""
    config, credentials = home / "config", home / "credentials"
    ending = f": 'bogus'; allowed: {allowed}"

    def message(connection: ConnectionConfig) -> str:
        with pytest.raises(UsageError) as caught:
            resolve_endpoint(connection)
        assert caught.value.exit_code == 2
        return str(caught.value)

    config.write_text(f"[default]\n{key} = bogus\n[profile other]\n{key} = bogus\n")
    assert message(CONNECTION) == f"invalid AWS setting {key} in {config} [default]{ending}"
    other = ConnectionConfig(profile="other", region="eu-west-1")
    assert message(other) == f"invalid AWS setting {key} in {config} [profile other]{ending}"
    credentials.write_text(f"[other]\n{key} = bogus\n")
    assert message(other) == f"invalid AWS setting {key} in {credentials} [other]{ending}"
    monkeypatch.setenv(variable, "bogus")
    assert message(other) == f"invalid AWS setting {variable}{ending}"
    if "integer" in allowed or "1" in allowed:
        monkeypatch.setenv(variable, "-1")
        assert message(other) == f"invalid AWS setting {variable}{ending.replace('bogus', '-1')}"


def _configurations() -> Iterator[tuple[dict[str, str], str]]:
    """Each setting of botocore with values that it might reject: (variables, lines of the profile)."""
    for keys, variables, *_ in (BOTOCORE_DEFAUT_SESSION_VARIABLES | DEFAULT_S3_CONFIG_VARS).values():
        for variable in [variables] if isinstance(variables, str) else variables or []:
            yield {variable: "bogus"}, ""
        for key in keys if isinstance(keys, list) else [keys]:
            if isinstance(key, tuple):
                yield {}, f"{key[0]} =\n  {key[1]} = bogus"
            elif key is not None:
                yield from (({}, f"{key} ={value}") for value in (" bogus", "\n  a = b"))
    for key in ("s3", "services", "endpoint_url", "sso_session"):
        yield from (({}, f"{key} ={value}") for value in (" bogus", "\n  a = b"))
    yield {}, "api_versions =\n  sts = bogus"
    yield {}, "services = x\n[services x]\nsts = bogus"
    for variable in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "HTTPS_PROXY", "https_proxy"):
        yield from (({variable: value}, "") for value in ("bogus:x", "http://[::1", "socks5h://h:1"))
    yield {"AWS_CSM_ENABLED": "true", "AWS_CSM_PORT": "bogus"}, ""


@pytest.mark.parametrize(("variables", "lines"), list(_configurations()))
async def test_open_client_raises_only_usage_errors_for_any_setting(
    home: Path, keys: None, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], lines: str
) -> None:
    """Whatever botocore raises while a session, a configuration or a client is made is a usage error."""
    (home / "config").write_text(f"[default]\n{lines}\n")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with suppress(UsageError):
        await open_client("s3" if "s3" in f"{variables} {lines}".lower() else "sts")


async def test_open_transport_invalid_setting_is_no_credentials_error(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong setting is reported before credentials are asked for."""
    monkeypatch.setenv("AWS_METADATA_SERVICE_TIMEOUT", "1.5")
    with pytest.raises(UsageError, match=r"AWS_METADATA_SERVICE_TIMEOUT: '1.5'; allowed: an integer"):
        async with open_transport(CONNECTION):
            pass
    monkeypatch.setenv("AWS_METADATA_SERVICE_TIMEOUT", "1")
    with pytest.raises(CredentialsError, match="no AWS credentials"):
        async with open_transport(CONNECTION):
            pass


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[default]\nsso_session = a\n[sso-session b]\n", r"sso_session in .*: 'a'; allowed: .*section \(b\)$"),
        ("[default]\nservices = x\n[services x]\nsts = y\n", r"\[services x\].*: sts must be a section"),
        ("[default]\nregion =\n  a = b\n", "region in .*: 'a section of keys'; allowed: one value"),
        ("[default]\ns3 = bogus\n", "s3 in .*: 'bogus'; allowed: a section of indented keys"),
        ("[default]\napi_versions =\n  sts = bogus\n", "cannot be used for sts: .*sts/bogus.*; check .*config"),
    ],
)
async def test_open_client_malformed_section_raises(home: Path, keys: None, text: str, message: str) -> None:
    """Values and sections in the wrong place are named."""
    (home / "config").write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        await open_client()
    assert "\n" not in str(caught.value)


# --- FIPS and dual-stack endpoints ---


@pytest.mark.parametrize("setting", ["use_fips_endpoint", "use_dualstack_endpoint"])
@pytest.mark.parametrize("source", ["endpoint_url", "AWS_ENDPOINT_URL", "profile"])
def test_resolve_endpoint_variant_with_custom_endpoint_raises(
    home: Path, monkeypatch: pytest.MonkeyPatch, setting: str, source: str
) -> None:
    """The message says what to unset: the variable, or the key with its file and section."""
    url = "http://127.0.0.1:1"
    if source == "AWS_ENDPOINT_URL":
        monkeypatch.setenv(source, url)
    lines = f"[default]\n{setting} = true\n" + (f"endpoint_url = {url}\n" if source == "profile" else "")
    (home / "config").write_text(lines)
    connection = ConnectionConfig(region="eu-west-1", endpoint_url=url if source == "endpoint_url" else None)
    expected = f"{setting} does not work with a custom endpoint ({url} from {source}): unset "
    with pytest.raises(UsageError) as caught:
        resolve_endpoint(connection)
    assert str(caught.value) == f"{expected}{setting} in {home / 'config'} [default]"
    monkeypatch.setenv(f"AWS_{setting.upper()}", "true")
    with pytest.raises(UsageError) as caught:
        resolve_endpoint(connection)
    assert str(caught.value) == f"{expected}AWS_{setting.upper()}"


async def test_open_client_variant_with_custom_endpoint_of_that_service_raises(
    keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint configured for one service is checked when its client is opened."""
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    with pytest.raises(UsageError, match=r"unset AWS_USE_FIPS_ENDPOINT$"):
        await open_client()


# --- proxies ---


@pytest.mark.parametrize(
    ("variable", "proxy", "message"),
    [
        ("HTTPS_PROXY", "socks5://127.0.0.1:1080", "^HTTPS_PROXY: proxies of type socks5 are not supported"),
        ("https_proxy", "socks5h://user:hunter2@h:1080", "^https_proxy: proxies of type socks5h are not supported"),
        ("HTTPS_PROXY", "socks4://h", "proxies of type socks4"),
        ("HTTPS_PROXY", "ftp://h", "proxies of type ftp"),
        ("HTTPS_PROXY", "http://h:port", "invalid proxy URL in HTTPS_PROXY"),
        ("HTTPS_PROXY", "http://[::1", "invalid proxy URL in HTTPS_PROXY"),
        ("HTTPS_PROXY", "http://me:hunter2@[bad", "invalid proxy URL in HTTPS_PROXY"),
        ("HTTPS_PROXY", "http://", "no host"),
    ],
)
def test_resolve_endpoint_unusable_proxy_raises(
    monkeypatch: pytest.MonkeyPatch, variable: str, proxy: str, message: str
) -> None:
    """A proxy that no request can pass is an error before the first request, without its password."""
    monkeypatch.setenv(variable, proxy)
    with pytest.raises(UsageError, match=message) as caught:
        resolve_endpoint(CONNECTION)
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("NO_PROXY", "greengrass.eu-west-1.amazonaws.com")
    assert resolve_endpoint(CONNECTION).url


@pytest.mark.parametrize("proxy", ["http://h:3128", "https://h", "h:3128", "//h:3128", "http://u:p%40@h:1"])
def test_resolve_endpoint_usable_proxy(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """HTTP proxies are accepted in the spellings that botocore knows, and others for other schemes."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setenv("HTTP_PROXY", "socks5://h:1")
    assert resolve_endpoint(CONNECTION).url == "https://greengrass.eu-west-1.amazonaws.com"


async def test_unreachable_proxy_message_has_no_object_address(
    keys: None, opener: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply says which proxy does not answer, and nothing about the objects of the library."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with opener(CONNECTION) as transport:
        reply = await transport.send("core", ["thing"])
    assert (reply.kind, reply.sent) == ("proxy", False)
    assert "127.0.0.1:1" in reply.detail
    assert "object" not in reply.detail
    assert "0x" not in reply.detail
