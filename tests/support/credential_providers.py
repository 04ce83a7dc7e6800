"""Every provider of AWS credentials, set up with a server on the loopback interface."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripted_server import ReceivedRequest, ScriptedServer, respond

ROLE = "role_arn = arn:aws:iam::210987654321:role/operator\n"
STATIC = "aws_access_key_id = AKIABASE\naws_secret_access_key = base-secret\n"
_START_URL = "https://example.awsapps.com/start"


def iso_date(seconds: float) -> str:
    """A time in seconds since 1970 as ISO 8601, as the services write it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class CredentialsServer:
    """What every source returns, and how often it was called. `lifetime` is in seconds."""

    home: Path
    monkeypatch: pytest.MonkeyPatch
    server: ScriptedServer
    lifetime: float = 300.0
    key: str = "ASIASAME"
    calls: list[str] = field(default_factory=list)

    def document(self, **names: str) -> dict[str, Any]:
        """The credentials, with these names for some members."""
        values = {
            "AccessKeyId": self.key,
            "SecretAccessKey": "renewed-secret",
            "Token": "renewed-token",
            "Expiration": iso_date(time.time() + self.lifetime),
        }
        return {names.get(name, name): value for name, value in values.items()}

    async def answer(self, request: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
        """Answer as STS, SSO, the container endpoint or the instance metadata service."""
        body: bytes | dict[str, Any]
        if request.method == "POST":
            action = "AssumeRoleWithWebIdentity" if b"WebIdentity" in request.body else "AssumeRole"
            members = "".join(f"<{k}>{v}</{k}>" for k, v in self.document(Token="SessionToken").items())
            result = f"<{action}Result><Credentials>{members}</Credentials></{action}Result>"
            body = f"<{action}Response>{result}</{action}Response>".encode()
        elif request.path.startswith("/federation/"):
            names = {
                "AccessKeyId": "accessKeyId",
                "SecretAccessKey": "secretAccessKey",
                "Token": "sessionToken",
                "Expiration": "expiration",
            }
            body = {"roleCredentials": self.document(**names) | {"expiration": (time.time() + self.lifetime) * 1000}}
        elif request.method == "PUT":
            body = b"metadata-token"
        elif request.path.endswith("/security-credentials/"):
            body = b"instance-role"
        else:
            body = {"Code": "Success", **self.document()}
        if request.method != "PUT" and body != b"instance-role":
            self.calls.append(request.path)
        await respond(200, body)(request, writer)

    def use(self, provider: str) -> str | None:
        """Configure `provider`; returns the profile."""
        self.server.set_script(self.answer)
        for variable in ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_SSO"):
            self.monkeypatch.setenv(variable, self.server.url)
        config, credentials = self.home / "config", self.home / "credentials"
        credentials.write_text(f"[base]\n{STATIC}")
        _PROVIDERS[provider](self, config)
        return "tested" if config.exists() else None

    @property
    def process_starts(self) -> int:
        """How often `credential_process` was started."""
        log = self.home / "starts"
        return log.stat().st_size if log.exists() else 0

    @property
    def loads(self) -> int:
        """How often credentials were fetched."""
        return len(self.calls) + self.process_starts


def process_profile(home: Path, output: str, *, before: str = "") -> str:
    """A profile with a process that logs its start in `home`, runs `before` and prints `output`."""
    script, printed = home / "process.sh", home / "process.json"
    printed.write_text(output)
    script.write_text(f"printf x >> {home}/starts\n{before}\ncat {printed}\n")
    return f"[profile tested]\ncredential_process = sh {script}\n"


def _environment(sources: CredentialsServer, _config: Path) -> None:
    sources.monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    sources.monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "environment-secret")


def _file(sources: CredentialsServer, config: Path) -> None:
    config.write_text(f"[profile tested]\n{STATIC}")


def _process(sources: CredentialsServer, config: Path) -> None:
    document = {"Version": 1, **sources.document(Token="SessionToken")}
    config.write_text(process_profile(sources.home, json.dumps(document)))


def _assume_role(sources: CredentialsServer, config: Path) -> None:
    config.write_text(f"[profile tested]\n{ROLE}source_profile = base\n")


def _web_identity(sources: CredentialsServer, config: Path) -> None:
    token = sources.home / "web-identity-token"
    token.write_text("a-token")
    config.write_text(f"[profile tested]\n{ROLE}web_identity_token_file = {token}\n")


def _sso(sources: CredentialsServer, config: Path) -> None:
    sources.monkeypatch.setattr("botocore.credentials.SSOProvider._SSO_TOKEN_CACHE_DIR", str(sources.home))
    token = {"accessToken": "sso-token", "expiresAt": iso_date(time.time() + 3600), "startUrl": _START_URL}
    (sources.home / f"{hashlib.sha1(_START_URL.encode()).hexdigest()}.json").write_text(json.dumps(token))
    config.write_text(
        f"[profile tested]\nsso_start_url = {_START_URL}\nsso_region = eu-west-1\nsso_account_id = 123456789012\n"
        "sso_role_name = operator\n"
    )


def _container(sources: CredentialsServer, _config: Path) -> None:
    sources.monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{sources.server.url}/container")


def _metadata(sources: CredentialsServer, _config: Path) -> None:
    sources.monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    sources.monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", sources.server.url)


_PROVIDERS: dict[str, Callable[[CredentialsServer, Path], None]] = {
    "environment": _environment,
    "file": _file,
    "process": _process,
    "assume-role": _assume_role,
    "web-identity": _web_identity,
    "sso": _sso,
    "container": _container,
    "metadata": _metadata,
}
PROVIDERS = sorted(_PROVIDERS)
TEMPORARY = [name for name in PROVIDERS if name not in {"environment", "file"}]
