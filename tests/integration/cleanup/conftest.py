"""Rule: what the tests of this folder share as fixtures lives here: an AWS environment of their own, moto's server."""

from __future__ import annotations

import os
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.moto_server import moto_url

__all__ = ["moto_url"]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fixed credentials; nothing of this machine's AWS configuration."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "ASYNCGG_")):
            monkeypatch.delenv(name)
    values = {"ACCESS_KEY_ID": "AKIDEXAMPLE", "SECRET_ACCESS_KEY": "nobody's", "EC2_METADATA_DISABLED": "true"}
    values |= {"CONFIG_FILE": os.devnull, "SHARED_CREDENTIALS_FILE": os.devnull, "REGION": "us-east-1"}
    for name, value in values.items():
        monkeypatch.setenv(f"AWS_{name}", value)


class _NoFsyncConnection(sqlite3.Connection):
    """A database whose file is not synced: no power is lost in a test, and a killed process loses nothing by that."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return super().execute("PRAGMA synchronous = OFF" if sql.startswith("PRAGMA synchronous") else sql, *values)


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals and snapshots are not synced, which would be most of the time that a night takes here."""
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=_NoFsyncConnection))
