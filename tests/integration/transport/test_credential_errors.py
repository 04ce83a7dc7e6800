"""What is wrong with a source of credentials: the message says what and where, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asyncgg.errors import CredentialsError, CredentialsUnreachableError
from asyncgg.transport.credentials import CredentialSource
from tests.support.credential_providers import CredentialsServer, process_profile
from tests.support.scripted_server import ScriptedServer, respond

from .conftest import SECRET_KEY

CHARACTERS = {
    "\r": "a carriage return",
    "\n": "a line feed",
    "\t": "a tab",
    " ": "a blank",
    "\ufeff": "the character U+FEFF",
}
VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@pytest.fixture
def sources(home: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> CredentialsServer:
    """The server of all sources."""
    return CredentialsServer(home, monkeypatch, server)


async def _error(profile: str | None = None) -> str:
    with pytest.raises(CredentialsError) as caught:
        await CredentialSource(profile, "eu-west-1").open()
    message = str(caught.value)
    assert message.startswith("no AWS credentials")
    assert "\n" not in message
    assert SECRET_KEY not in message
    return message


@pytest.mark.parametrize("character", CHARACTERS)
@pytest.mark.parametrize("variable", VARIABLES)
async def test_open_unusable_character_in_variable_raises(
    keys: None, monkeypatch: pytest.MonkeyPatch, variable: str, character: str
) -> None:
    """The message names the variable and the character."""
    monkeypatch.setenv(variable, SECRET_KEY + character)
    assert f"{variable} ends with {CHARACTERS[character]};" in await _error()
    monkeypatch.setenv(variable, character + SECRET_KEY)
    assert f"{variable} starts with" in await _error()


@pytest.mark.parametrize("key", ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"])
@pytest.mark.parametrize(("text", "expected"), [("a b", "a blank"), ("a\tb", "a tab"), ("a\n  b", "a line feed")])
async def test_open_unusable_character_in_file_raises(home: Path, key: str, text: str, expected: str) -> None:
    """The message names key, file and section; line ends of CRLF files are no part of a value."""
    values = {"aws_access_key_id": "AKIA", "aws_secret_access_key": SECRET_KEY} | {key: text}
    lines = "\r\n".join(f"{name} = {value}" for name, value in values.items())
    (home / "credentials").write_text(f"[default]\r\n{lines}\r\n", newline="")
    assert f"{key} in {home}/credentials [default] contains {expected}" in await _error()
    (home / "credentials").unlink()
    (home / "config").write_text(f"[profile other]\n{lines}\n")
    assert f"{key} in {home}/config [profile other] contains {expected}" in await _error("other")


async def test_open_unusable_character_in_source_profile_raises(sources: CredentialsServer, home: Path) -> None:
    """The keys of a source profile are checked before they sign AssumeRole."""
    profile = sources.use("assume-role")
    (home / "credentials").write_text("[base]\naws_access_key_id = AKIA BASE\naws_secret_access_key = x\n")
    assert f"aws_access_key_id in {home}/credentials [base] contains a blank" in await _error(profile)
    assert sources.server.requests == []


@pytest.mark.parametrize("provider", ["container", "metadata", "process", "sso"])
async def test_open_unusable_character_from_provider_raises(sources: CredentialsServer, provider: str) -> None:
    """The message names the provider."""
    sources.key = "ASIA\r"
    assert "the access key id of " in (message := await _error(sources.use(provider)))
    assert "ends with a carriage return" in message


VALID = {"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": SECRET_KEY}


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("Opening your browser ...", "credential_process: it printed no JSON"),
        ("", "credential_process: it printed no JSON"),
        (json.dumps([1]), "credential_process: its JSON is not an object"),
        (json.dumps(VALID | {"Version": 2}), "Unsupported version '2'"),
        (json.dumps({"Version": 1, "AccessKeyId": "AKIA"}), "SecretAccessKey"),
        (json.dumps(VALID | {"Expiration": "soon"}), "its Expiration is not a date"),
        (json.dumps(VALID | {"Expiration": "2999-01-01T00:00:00"}), "its Expiration has no time zone"),
        (json.dumps(VALID | {"Expiration": "2020-01-01T00:00:00Z"}), "expired at 2020-01-01T00:00:00"),
    ],
)
async def test_open_unusable_process_output_raises(home: Path, output: str, expected: str) -> None:
    """The message says what the process printed, without the output."""
    (home / "config").write_text(process_profile(home, output))
    assert expected in await _error("tested")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/does/not/exist", "credential_process: /does/not/exist: No such file or directory"),
        ("sh -c 'exit 3", "a quotation mark that is not closed"),
        ("sh -c 'echo sign in first >&2; exit 3'", "sign in first"),
        (r"printf \\377", "it printed no UTF-8 text"),
    ],
)
async def test_open_unusable_process_raises(home: Path, command: str, expected: str) -> None:
    """The message says why the process has no credentials."""
    (home / "config").write_text(f"[profile tested]\ncredential_process = {command}\n")
    assert expected in await _error("tested")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b"<html>", "Unable to parse JSON"),
        (500, b"busy", "non 200 response 500"),
        (200, b'{"AccessKeyId": "AKIA", "SecretAccessKey": "s"}', "its JSON has no Token"),
        (200, b"[]", "its JSON has another form"),
    ],
)
async def test_open_unusable_container_answer_raises(
    sources: CredentialsServer, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, expected: str
) -> None:
    """The message names the variable of the endpoint."""
    monkeypatch.setattr("aiobotocore.credentials.AioContainerMetadataFetcher.SLEEP_TIME", 0)
    profile = sources.use("container")
    sources.server.set_script(respond(status, body))
    message = await _error(profile)
    assert "the container credentials (AWS_CONTAINER_CREDENTIALS_FULL_URI): " in message
    assert expected in message


async def test_open_unusable_container_settings_raises(
    sources: CredentialsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A line break in the token and a host that is not allowed are named; so is a missing file."""
    sources.use("container")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token\n")
    assert "the authorization token has a line break" in await _error()
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "none"))
    assert f"{tmp_path}/none: No such file" in await _error()
    monkeypatch.delenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/x")
    assert "its URL is not allowed" in await _error()


async def test_open_keys_in_variables_take_precedence(keys: None, home: Path) -> None:
    """A key in a file that is not used may have any form."""
    (home / "credentials").write_text("[default]\naws_access_key_id = a b\naws_secret_access_key = c\n")
    await CredentialSource(None, "eu-west-1").open()


async def test_open_environment_as_source_of_a_role_is_checked(
    keys: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables sign AssumeRole for a profile that refers to them."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY + "\r")
    role = "role_arn = arn:aws:iam::210987654321:role/operator\ncredential_source = Environment\n"
    (home / "config").write_text(f"[profile tested]\n{role}")
    assert "AWS_SECRET_ACCESS_KEY ends with a carriage return" in await _error("tested")


async def test_open_expired_variables_raises(keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expired credentials in variables are named with their date."""
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z")
    assert "AWS_SESSION_TOKEN: the credentials expired at 2020-01-01T00:00:00" in await _error()


@pytest.mark.parametrize("provider", ["container", "metadata"])
async def test_renew_silent_endpoint_is_unreachable(
    sources: CredentialsServer, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    """An endpoint that fails after it had credentials is called again later."""
    monkeypatch.setattr("aiobotocore.credentials.AioContainerMetadataFetcher.SLEEP_TIME", 0)
    source = CredentialSource(sources.use(provider), "eu-west-1")
    await source.open()
    sources.server.set_script(respond(500, b"busy"))
    with pytest.raises(CredentialsUnreachableError, match="cannot renew"):
        await source.renew()
