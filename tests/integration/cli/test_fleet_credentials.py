"""Tests of the credentials of targets: roles are assumed again before they expire."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from asyncgg.simulator import FleetSpec
from tests.integration.cli.conftest import StartTargets
from tests.support.command_line import CommandRunner

LIFETIME = 1.5
"""Seconds until credentials expire."""


class TokenService(ThreadingHTTPServer):
    """STS: assumes any role."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.assumed: Counter[str] = Counter()
        """Calls of AssumeRole by account."""

    def answer(self, form: dict[str, list[str]], key: str) -> str:
        """The reply to a request, signed with this access key."""
        if form["Action"] == ["GetCallerIdentity"]:
            account = key.removeprefix("AKID")
            return _reply("GetCallerIdentity", f"<Account>{account}</Account><Arn>arn:aws:iam::{account}:user/x</Arn>")
        account = form["RoleArn"][0].split(":")[4]
        self.assumed[account] += 1
        expires = (datetime.now(UTC) + timedelta(seconds=LIFETIME)).isoformat()
        credentials = f"<AccessKeyId>AKID{account}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
        credentials += f"<SessionToken>t</SessionToken><Expiration>{expires}</Expiration>"
        return _reply("AssumeRole", f"<Credentials>{credentials}</Credentials>")


class _Handler(BaseHTTPRequestHandler):
    server: TokenService

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        key = self.headers["Authorization"].split("Credential=")[1].split("/")[0]
        body = self.server.answer(form, key).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _reply(action: str, result: str) -> str:
    namespace = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
    return f"<{action}Response {namespace}><{action}Result>{result}</{action}Result></{action}Response>"


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenService]:
    """A running STS for credentials of the environment."""
    with TokenService() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDHUB")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield server
        server.shutdown()
        thread.join()


def add_roles(count: int) -> None:
    """Give the targets a role each."""
    text = Path("targets.toml").read_text(encoding="utf-8")
    for number in range(1, count + 1):
        account = f"{number}" * 12
        text = text.replace(
            f'account = "{account}"', f'account = "{account}"\nrole-arn = "arn:aws:iam::{account}:role/r"'
        )
    Path("targets.toml").write_text(text, encoding="utf-8")


def test_roles_are_assumed_again_before_they_expire(
    cli: CommandRunner, targets: StartTargets, sts: TokenService
) -> None:
    """A run that lasts longer than its credentials fails no request."""
    plan = FleetSpec.from_things({f"core-{number}": ["a"] for number in range(60)}, now=1000.0)
    slow = {"rate": 25.0, "burst": 5.0}
    simulators = targets(slow, slow, plan=plan)
    add_roles(2)
    result = cli(
        "fleet", "disassociate", "fleet.csv", "--targets", "targets.toml", "--campaign", "c", "--yes", "--json"
    )
    assert result.code == 0, result.err
    assert result.json["seconds"] > LIFETIME
    assert all(sts.assumed[account] >= 2 for account in ("1" * 12, "2" * 12)), sts.assumed
    assert {code for simulator in simulators for code in simulator.service.counters.codes} <= {"ThrottlingException"}
