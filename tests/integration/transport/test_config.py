"""Rule: the choice of Region, endpoint and credentials by the AWS configuration is tested here, without any network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiobotocore.awsrequest import AioAWSResponse
from botocore.awsrequest import AWSPreparedRequest

from asyncgg.errors import CredentialsError, UsageError
from asyncgg.models import Accepted, Operation
from asyncgg.transport import ConnectionConfig, Endpoint, open_transport, resolve_endpoint
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
services = nowhere
[profile bare]
output = json
"""


@pytest.fixture(autouse=True)
def config(home: Path) -> Path:
    """A configuration file with the profiles above."""
    path = home / "config"
    path.write_text(CONFIG)
    return path


# --- Region ---


@pytest.mark.parametrize(
    ("given", "env", "expected"),
    [
        ("us-west-2", {"AWS_REGION": "eu-north-1"}, "us-west-2"),
        (None, {"AWS_REGION": "eu-north-1", "AWS_DEFAULT_REGION": "eu-south-1"}, "eu-north-1"),
        (None, {"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-south-1"}, "eu-south-1"),
        (None, {}, "eu-west-1"),
        (None, {"AWS_PROFILE": "china"}, "cn-north-1"),
    ],
)
def test_region_precedence(
    monkeypatch: pytest.MonkeyPatch, given: str | None, env: dict[str, str], expected: str
) -> None:
    """The option wins over AWS_REGION, that over AWS_DEFAULT_REGION, that over the profile."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert resolve_endpoint(ConnectionConfig(region=given)).region == expected


def test_a_custom_endpoint_needs_no_region() -> None:
    """Only with a custom endpoint there is a Region to fall back on, and a configured one still wins."""
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
async def test_the_endpoint_told_is_the_one_called(
    monkeypatch: pytest.MonkeyPatch, keys: None, profile: str | None, env: dict[str, str], source: str, url: str
) -> None:
    """What `resolve` says before the run is the address to which the client then addresses its request."""
    for name, value in (env | ({"AWS_PROFILE": profile} if profile else {})).items():
        monkeypatch.setenv(name, value)
    target = resolve_endpoint(ConnectionConfig())
    assert (target.source, target.url, target.custom) == (source, url, source != "aws")
    called: list[str] = []

    class Raw:
        async def read(self) -> bytes:
            return b"{}"

    def instead(request: AWSPreparedRequest, **_: object) -> Any:
        called.append(request.url)
        return AioAWSResponse("", 200, {}, Raw())

    async with open_transport(ConnectionConfig()) as transport:
        transport._send_batch.__self__.meta.events.register(
            f"before-send.greengrassv2.{Operation.DISASSOCIATE.api}", instead
        )
        assert await transport.send("core", THINGS) == Accepted()
    assert called == [f"{url}/greengrass/v2/coreDevices/core/disassociateClientDevices"]


def test_given_endpoint_and_flags_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's endpoint wins over every configured one, and the caller's flags over the environment's."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_GREENGRASSV2", "http://gg.example")
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    endpoint = resolve_endpoint(ConnectionConfig(endpoint_url="https://[::1]:8443", use_fips=False))
    assert endpoint == Endpoint("eu-west-1", "https://[::1]:8443", True, "aws", "endpoint_url")
    assert "fips" not in resolve_endpoint(ConnectionConfig(use_fips=False)).url


@pytest.mark.parametrize(("region", "partition"), [("cn-northwest-1", "aws-cn"), ("us-gov-east-1", "aws-us-gov")])
def test_partition(region: str, partition: str) -> None:
    """The partition follows the Region: the quota differs in China and GovCloud."""
    assert resolve_endpoint(ConnectionConfig(region=region)).partition == partition


BAD_URLS = ["ftp://h", "h:8080", "http://", "http://h:port", "http://h:99999", "http://h?x=1", "http://u:hunter2@h"]


@pytest.mark.parametrize("url", [*BAD_URLS, "http://h#f", "http://[::1", "http://a b"])
def test_a_bad_url_is_one_sentence(url: str) -> None:
    """What is no endpoint URL is refused with where it came from, and no password in it is repeated."""
    with pytest.raises(UsageError, match="endpoint") as caught:
        resolve_endpoint(ConnectionConfig(endpoint_url=url))
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        (ConnectionConfig(profile="nobody"), "no AWS profile 'nobody'.*known: all, bare"),
        (ConnectionConfig(profile="dangling"), r"\[services nowhere\]"),
        (ConnectionConfig(region="eu west"), "AWS Region 'eu west'"),
        (ConnectionConfig(endpoint_url="http://h:1", use_fips=True), "(?i)fips and custom endpoint"),
    ],
)
def test_what_cannot_be_meant(connection: ConnectionConfig, words: str) -> None:
    """Unknown profiles, dangling sections, impossible Regions and combinations are usage errors of one line."""
    with pytest.raises(UsageError, match=words) as caught:
        resolve_endpoint(connection)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"[default\nregion", b"\xff\xfe\x00[", b"no section = 1\n"])
@pytest.mark.parametrize("name", ["config", "credentials"])
def test_a_broken_configuration_names_its_file(home: Path, name: str, content: bytes) -> None:
    """A configuration that cannot be parsed is a usage error with the file's name and none of its content."""
    (home / name).write_bytes(content)
    with pytest.raises(UsageError, match=name):
        resolve_endpoint(ConnectionConfig())


def test_ca_bundle(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA bundle that is missing or holds no certificates is told before the first request."""
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


async def test_which_credentials_sign(server: ScriptedServer, home: Path, keys: None) -> None:
    """The environment's keys sign, unless a profile was named: then its own do, those of a credential process too."""
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
    ("profile", "credentials", "words"),
    [
        ("bare", "", "no AWS credentials of profile 'bare'.*aws sso login --profile bare"),
        ("bare", "[bare]\naws_access_key_id = AKIA\n", "incomplete.*aws_secret_access_key"),
        ("sso", "", "SSO session of profile 'sso'.*run `aws sso login --profile sso`"),
        ("broken", "", "no AWS credentials of profile 'broken'"),
        ("absent", "", "no AWS credentials of profile 'absent'"),
    ],
)
async def test_why_there_are_no_credentials(home: Path, profile: str, credentials: str, words: str) -> None:
    """Missing, incomplete, ended and broken sources each give one line with what to do, without what they printed."""
    with (home / "config").open("a") as file:
        file.write(SSO_CONFIG)
        file.write("[profile broken]\ncredential_process = echo hunter2\n")
        file.write("[profile absent]\ncredential_process = /nonexistent/helper\n")
    (home / "credentials").write_text(credentials)
    with pytest.raises(CredentialsError, match=words) as caught:
        async with open_transport(ConnectionConfig(profile=profile, endpoint_url="http://127.0.0.1:1")):
            pass
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
