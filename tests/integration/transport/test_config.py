"""Tests of Region, endpoint and credentials in the AWS configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiobotocore.awsrequest import AioAWSResponse
from botocore.awsrequest import AWSPreparedRequest
from botocore.session import Session

from asyncgg.errors import CredentialsError, UsageError
from asyncgg.models import Accepted, Operation
from asyncgg.transport import ConnectionConfig, Endpoint, open_transport, resolve_endpoint
from asyncgg.transport.sdk import SdkTransport
from tests.support.scripted_server import ScriptedServer, respond

from .conftest import THINGS

CONFIG = """
[default]
region = eu-west-1
[profile china]
region = cn-north-1
[profile gov]
region = us-gov-west-1
use_fips_endpoint = true
[profile own]
region = eu-central-1
services = here
endpoint_url = http://all.example:1
[services here]
greengrassv2 =
  endpoint_url = http://green.example:2
[profile all]
region = eu-central-1
endpoint_url = http://all.example:1
[profile dangling]
region = eu-central-1
services = missing
[profile bare]
output = json
"""


@pytest.fixture(autouse=True)
def config(home: Path) -> Path:
    """A configuration file with the profiles in `CONFIG`."""
    path = home / "config"
    path.write_text(CONFIG)
    return path


# --- Region ---


@pytest.mark.parametrize(
    ("region", "env", "expected"),
    [
        ("us-west-2", {"AWS_REGION": "eu-north-1"}, "us-west-2"),
        (None, {"AWS_REGION": "eu-north-1", "AWS_DEFAULT_REGION": "eu-south-1"}, "eu-north-1"),
        (None, {"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-south-1"}, "eu-south-1"),
        (None, {}, "eu-west-1"),
        (None, {"AWS_PROFILE": "china"}, "cn-north-1"),
    ],
)
def test_resolve_endpoint_region_precedence(
    monkeypatch: pytest.MonkeyPatch, region: str | None, env: dict[str, str], expected: str
) -> None:
    """The order is argument, AWS_REGION, AWS_DEFAULT_REGION, profile."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert resolve_endpoint(ConnectionConfig(region=region)).region == expected


@pytest.mark.parametrize(
    ("region", "suggestion"),
    [
        ("eu-west-9", "eu-west-1"),
        ("eu-wset-1", "eu-west-1"),
        ("EU-CENTRAL-1", "eu-central-1"),
        ("us-west-2a", "us-west-2"),
        ("us-east1", "us-east-1"),
        ("us_east_2", "us-east-2"),
        ("us-gov-west-2", "us-gov-west-1"),
        ("cn-north-2", "cn-north-1"),
        ("eu west 2", "eu-west-2"),
    ],
)
def test_resolve_endpoint_unknown_region_raises_with_suggestion(region: str, suggestion: str) -> None:
    """A Region that AWS does not have is an error, unless it is allowed or the endpoint is custom."""
    with pytest.raises(UsageError) as caught:
        resolve_endpoint(ConnectionConfig(region=region))
    assert f"unknown AWS Region {region!r}; did you mean {suggestion}?" in str(caught.value)
    assert "--allow-unknown-region" in str(caught.value)


def test_resolve_endpoint_unknown_region_allowed() -> None:
    """A Region newer than the SDK resolves if the caller says so, or with a custom endpoint."""
    allowed = resolve_endpoint(ConnectionConfig(region="eu-west-9", allow_unknown_region=True))
    assert allowed.url == "https://greengrass.eu-west-9.amazonaws.com"
    custom = resolve_endpoint(ConnectionConfig(region="eu-west-9", endpoint_url="http://h:1"))
    assert (custom.region, custom.partition) == ("eu-west-9", "aws")
    with pytest.raises(UsageError, match="invalid AWS Region"):
        resolve_endpoint(ConnectionConfig(region="eu west", allow_unknown_region=True))


def test_resolve_endpoint_unknown_region_names_its_source(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says which variable, or which key of which file, has the Region."""
    config.write_text("[profile x]\nregion = eu-west-9\n")
    with pytest.raises(UsageError) as caught:
        resolve_endpoint(ConnectionConfig(profile="x"))
    assert f"'eu-west-9' (region in {config} [profile x]); did you mean" in str(caught.value)
    for variable in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.setenv(variable, "eu-west-9")
        with pytest.raises(UsageError, match=rf"'eu-west-9' \({variable}\); did you mean"):
            resolve_endpoint(ConnectionConfig(profile="x"))


def test_resolve_endpoint_accepts_every_region_of_botocore() -> None:
    """No Region that AWS has is refused as unknown."""
    session = Session()
    regions = {
        region
        for partition in session.get_available_partitions()
        for service in ("ec2", "iot", "greengrassv2")
        for region in session.get_available_regions(service, partition)
    }
    assert len(regions) > 30
    for region in regions:
        assert resolve_endpoint(ConnectionConfig(region=region)).partition


def test_resolve_endpoint_without_region_requires_custom_endpoint() -> None:
    """A default Region exists for custom endpoints only, and a configured one has precedence."""
    with pytest.raises(UsageError, match="no AWS Region: give --region"):
        resolve_endpoint(ConnectionConfig(profile="bare"))
    assert resolve_endpoint(ConnectionConfig(profile="bare", endpoint_url="http://h:1")).region == "us-east-1"
    assert resolve_endpoint(ConnectionConfig(endpoint_url="http://h:1")).region == "eu-west-1"


# --- endpoint ---


@pytest.mark.parametrize(
    ("profile", "env", "source", "url"),
    [
        (None, {}, "aws", "https://greengrass.eu-west-1.amazonaws.com"),
        (None, {"AWS_USE_FIPS_ENDPOINT": "true"}, "aws", "https://greengrass-fips.eu-west-1.amazonaws.com"),
        (None, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "aws", "https://greengrass.eu-west-1.api.aws"),
        ("china", {}, "aws", "https://greengrass.cn-north-1.amazonaws.com.cn"),
        ("gov", {}, "aws", "https://greengrass.us-gov-west-1.amazonaws.com"),
        ("own", {}, "profile", "http://green.example:2"),
        ("all", {}, "profile", "http://all.example:1"),
        ("own", {"AWS_ENDPOINT_URL": "http://env.example"}, "AWS_ENDPOINT_URL", "http://env.example"),
        (
            "own",
            {"AWS_ENDPOINT_URL": "http://env.example", "AWS_ENDPOINT_URL_GREENGRASSV2": "http://gg.example"},
            "AWS_ENDPOINT_URL_GREENGRASSV2",
            "http://gg.example",
        ),
        (
            "own",
            {"AWS_ENDPOINT_URL": "http://env.example", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "aws",
            "https://greengrass.eu-central-1.amazonaws.com",
        ),
        (None, {"AWS_ENDPOINT_URL": "http://env.example/base"}, "AWS_ENDPOINT_URL", "http://env.example/base"),
    ],
)
async def test_resolve_endpoint_returns_the_called_url(
    monkeypatch: pytest.MonkeyPatch, keys: None, profile: str | None, env: dict[str, str], source: str, url: str
) -> None:
    """The client sends its request to the resolved URL."""
    for name, value in (env | ({"AWS_PROFILE": profile} if profile else {})).items():
        monkeypatch.setenv(name, value)
    endpoint = resolve_endpoint(ConnectionConfig())
    assert (endpoint.source, endpoint.url, endpoint.custom) == (source, url, source != "aws")
    called: list[str] = []

    class EmptyBody:
        async def read(self) -> bytes:
            return b"{}"

    def capture(request: AWSPreparedRequest, **_: object) -> Any:
        called.append(request.url)
        return AioAWSResponse("", 200, {}, EmptyBody())

    async with open_transport(ConnectionConfig()) as transport:
        assert isinstance(transport, SdkTransport)
        transport._send_batch.__self__.meta.events.register(
            f"before-send.greengrassv2.{Operation.DISASSOCIATE.api}", capture
        )
        assert await transport.send("core", THINGS) == Accepted()
    assert called == [f"{url}/greengrass/v2/coreDevices/core/disassociateClientDevices"]


def test_resolve_endpoint_arguments_have_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint and flags of the caller have precedence over the configuration."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_GREENGRASSV2", "http://gg.example")
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    endpoint = resolve_endpoint(ConnectionConfig(endpoint_url="https://[::1]:8443", use_fips=False))
    assert endpoint == Endpoint("eu-west-1", "https://[::1]:8443", True, "aws", "endpoint_url")
    assert "fips" not in resolve_endpoint(ConnectionConfig(use_fips=False)).url


@pytest.mark.parametrize(("region", "partition"), [("cn-northwest-1", "aws-cn"), ("us-gov-east-1", "aws-us-gov")])
def test_resolve_endpoint_partition(region: str, partition: str) -> None:
    """The partition depends on the Region."""
    assert resolve_endpoint(ConnectionConfig(region=region)).partition == partition


INVALID_URLS = ["ftp://h", "h:8080", "http://", "http://h:port", "http://h:99999", "http://h?x=1", "http://u:hunter2@h"]


@pytest.mark.parametrize("url", [*INVALID_URLS, "http://h#f", "http://[::1", "http://a b"])
def test_resolve_endpoint_invalid_url_raises(url: str) -> None:
    """The message is one line without the password."""
    with pytest.raises(UsageError, match="endpoint") as caught:
        resolve_endpoint(ConnectionConfig(endpoint_url=url))
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        (ConnectionConfig(profile="missing"), "no AWS profile 'missing'.*known: all, bare"),
        (ConnectionConfig(profile="dangling"), r"\[services missing\]"),
        (ConnectionConfig(region="eu west"), "AWS Region 'eu west'"),
        (ConnectionConfig(endpoint_url="http://h:1", use_fips=True), "unset use_fips$"),
    ],
)
def test_resolve_endpoint_invalid_configuration_raises(connection: ConnectionConfig, message: str) -> None:
    """Unknown profiles and sections and invalid Regions are usage errors of one line."""
    with pytest.raises(UsageError, match=message) as caught:
        resolve_endpoint(connection)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"[default\nregion", b"\xff\xfe\x00[", b"no section = 1\n"])
@pytest.mark.parametrize("name", ["config", "credentials"])
def test_resolve_endpoint_malformed_file_raises_with_its_name(home: Path, name: str, content: bytes) -> None:
    """A malformed configuration is a usage error with the name of the file."""
    (home / name).write_bytes(content)
    with pytest.raises(UsageError, match=name):
        resolve_endpoint(ConnectionConfig())


def test_resolve_endpoint_unusable_ca_bundle_raises(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA bundle that is missing or without certificates is an error before the first request."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(home / "none.pem"))
    with pytest.raises(UsageError, match=r"none\.pem.*No such file"):
        resolve_endpoint(ConnectionConfig())
    (home / "none.pem").write_text("nothing")
    with pytest.raises(UsageError, match="contains no certificates"):
        resolve_endpoint(ConnectionConfig())


# --- credentials ---


async def _signing_key_id(server: ScriptedServer, connection: ConnectionConfig) -> str:
    server.set_script(respond())
    async with open_transport(connection) as transport:
        await transport.send("core", THINGS)
    return server.requests[-1].headers["authorization"].split("Credential=")[1].split("/")[0]


async def test_profile_argument_selects_credentials(server: ScriptedServer, home: Path, keys: None) -> None:
    """Keys of the environment sign, unless a profile with its own credentials is given."""
    (home / "credentials").write_text("[china]\naws_access_key_id = AKIACHINA\naws_secret_access_key = x\n")
    process = home / "process"
    process.write_text('#!/bin/sh\necho \'{"Version":1,"AccessKeyId":"AKIAPROC","SecretAccessKey":"x"}\'\n')
    process.chmod(0o700)
    with (home / "config").open("a") as file:
        file.write(f"[profile process]\ncredential_process = {process}\n")
    assert await _signing_key_id(server, ConnectionConfig(endpoint_url=server.url)) == "AKIAIOSFODNN7EXAMPLE"
    assert await _signing_key_id(server, ConnectionConfig(endpoint_url=server.url, profile="china")) == "AKIACHINA"
    assert await _signing_key_id(server, ConnectionConfig(endpoint_url=server.url, profile="process")) == "AKIAPROC"


SSO_CONFIG = """
[profile sso]
sso_session = s
sso_account_id = 123456789012
sso_role_name = r
region = eu-west-1
[sso-session s]
sso_region = eu-west-1
sso_start_url = https://example.invalid/start
"""


@pytest.mark.parametrize(
    ("profile", "credentials", "message"),
    [
        ("bare", "", "no AWS credentials of profile 'bare'.*aws sso login --profile bare"),
        ("bare", "[bare]\naws_access_key_id = AKIA\n", "incomplete.*aws_secret_access_key"),
        ("sso", "", "profile 'sso': the SSO session.*run `aws sso login --profile sso`"),
        ("broken", "", "no AWS credentials of profile 'broken'"),
        ("absent", "", "no AWS credentials of profile 'absent'"),
    ],
)
async def test_open_transport_without_credentials_raises_with_fix(
    home: Path, profile: str, credentials: str, message: str
) -> None:
    """The message is one line with a fix and without output of the source."""
    with (home / "config").open("a") as file:
        file.write(SSO_CONFIG)
        file.write("[profile broken]\ncredential_process = echo hunter2\n")
        file.write("[profile absent]\ncredential_process = /nonexistent/helper\n")
    (home / "credentials").write_text(credentials)
    with pytest.raises(CredentialsError, match=message) as caught:
        async with open_transport(ConnectionConfig(profile=profile, endpoint_url="http://127.0.0.1:1")):
            pass
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
