"""Fixtures of the decommission tests."""

from __future__ import annotations

from functools import partial

import pytest

from asyncgg.storage import SqliteWriter
from tests.integration.cleanup.conftest import no_fsync

__all__ = ["no_fsync"]


@pytest.fixture(autouse=True)
def no_thread(monkeypatch: pytest.MonkeyPatch, no_fsync: None) -> None:
    """Write journals without fsync and without a thread, which a virtual clock does not wait for."""
    monkeypatch.setattr("asyncgg.decommission.journal.SqliteWriter", partial(SqliteWriter, threaded=False))
