"""Tests of credentials on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asyncgg.transport.credentials import CredentialSource
from tests.support.command_line import CommandRunner

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
