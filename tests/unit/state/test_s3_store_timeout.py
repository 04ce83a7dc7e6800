"""Tests of a write to S3 that gets no answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asyncgg.errors import StateWriteError
from asyncgg.state.s3_store import S3Store


class SilentClient:
    """A client whose writes never end, as with a proxy that ignores `Expect: 100-continue`."""

    async def put_object(self, **_: Any) -> None:
        """Wait without end."""
        await asyncio.Event().wait()


async def test_write_without_an_answer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start ends with an error and does not hang."""
    monkeypatch.setattr("asyncgg.state.s3_store._WRITE_TIMEOUT", 0.0)
    with pytest.raises(StateWriteError, match="no answer in time"):
        await S3Store("s3://fleet/runs", SilentClient()).replace_document(b"{}", None)
