"""Tests of credentials on the command line."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from asyncgg.transport.credentials import CredentialSource
from tests.support.command_line import CommandRunner, small_fleet
from tests.support.credential_providers import iso_date, process_profile

from .conftest import StartSimulator

ACCOUNT = ("--expect-account", "123456789012")


@pytest.mark.parametrize(
    "arguments",
    [
        ("disassociate", "fleet.csv", "--yes"),
        ("disassociate", "--core", "core-1", "--yes"),
        ("inventory", "--out", "fleet.db"),
        ("verify", "first.journal"),
        ("undo", "first.journal", "--assume-associated", "--yes"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_command_loads_credentials_once(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """The check of the account, the scan and the run share one source."""
    serve()
    first = cli("disassociate", "fleet.csv", "--yes", "--journal", "first.journal", *ACCOUNT)
    assert first.code == 0, first.err
    loads = 0
    load = CredentialSource._load_once

    async def count_and_load(source: CredentialSource, *options: Any) -> Any:
        nonlocal loads
        loads += 1
        return await load(source, *options)

    monkeypatch.setattr(CredentialSource, "_load_once", count_and_load)
    result = cli(*arguments, *ACCOUNT)
    assert result.code == 0, result.err
    assert loads == 1
    assert Path("first.journal").exists()


def test_disassociate_near_expiry_starts_process_few_times(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """200 requests with 5 minutes left start `credential_process` 5 times at most."""
    simulator = serve(small_fleet(cores=200, things=1))
    expiration = iso_date(time.time() + 300)
    keys = {"Version": 1, "AccessKeyId": "ASIA", "SecretAccessKey": "s", "Expiration": expiration}
    (tmp_path / "config").write_text(process_profile(tmp_path, json.dumps(keys)))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    result = cli("disassociate", "fleet.csv", "--yes", "--json", "--profile", "tested", "--rate", "1000", *ACCOUNT)
    assert result.code == 0, result.err
    assert result.json["requests"]["sent"] == 200
    assert simulator.service.counters.requests.total() >= 200
    assert len((tmp_path / "starts").read_text()) <= 5


@pytest.mark.parametrize("transport", ["native", "sdk"])
@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_disassociate_key_with_line_end_exits_5(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch, variable: str, transport: str
) -> None:
    """Nothing is sent, no journal is left, and the value is not shown."""
    simulator = serve()
    monkeypatch.setenv(variable, "hunter2\r")
    result = cli("disassociate", "fleet.csv", "--yes", "--quiet", "--journal", "j", "--transport", transport)
    assert result.code == 5, result.err
    assert result.err.splitlines() == [
        f"error: no AWS credentials: {variable} ends with a carriage return; copy the value again without it",
        "nothing was sent",
    ]
    assert simulator.service.counters.requests.total() == 0
    assert not list(Path().glob("j*"))
