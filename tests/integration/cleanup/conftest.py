"""Fixtures of the clean-up tests: a fixed AWS environment, moto, databases without fsync."""

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
def aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fixed credentials, and no AWS configuration of this machine."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "ASYNCGG_")):
            monkeypatch.delenv(name)
    values = {"ACCESS_KEY_ID": "AKIDEXAMPLE", "SECRET_ACCESS_KEY": "secret", "EC2_METADATA_DISABLED": "true"}
    values |= {"CONFIG_FILE": os.devnull, "SHARED_CREDENTIALS_FILE": os.devnull, "REGION": "us-east-1"}
    for name, value in values.items():
        monkeypatch.setenv(f"AWS_{name}", value)


class _NoFsyncConnection(sqlite3.Connection):
    """A connection without fsync: tests lose no power, and a killed process loses nothing by it."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return super().execute("PRAGMA synchronous = OFF" if sql.startswith("PRAGMA synchronous") else sql, *values)


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write journals and snapshots without fsync, which would take most of the time."""
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=_NoFsyncConnection))
