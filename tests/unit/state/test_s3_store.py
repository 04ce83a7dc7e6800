"""Tests of calls of S3 that get no answer, or that of a proxy."""

from __future__ import annotations

import asyncio
from pathlib import Path
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
    monkeypatch.setattr("asyncgg.state.s3_store._DOCUMENT_TIMEOUT", 0.0)
    with pytest.raises(StateWriteError, match="no answer in time"):
        await S3Store("s3://fleet/runs", SilentClient()).replace_document(b"{}", None)


async def test_write_that_is_answered_while_it_is_cancelled_ends() -> None:
    """The cancellation counts, so that the renewal of a lease ends with its run."""
    answer = asyncio.get_running_loop().create_future()

    class Client:
        def put_object(self, **_: Any) -> asyncio.Future[Any]:
            return answer

    write = asyncio.create_task(S3Store("s3://fleet/runs", Client()).replace_document(b"{}", None))
    await asyncio.sleep(0)
    answer.set_result({"ETag": "1"})
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write


class CaptivePortal:
    """A client whose every call gets a page with the status 200."""

    async def get_object(self, **_: Any) -> dict[str, Any]:
        """Get a page."""
        return {"Body": Page(), "ResponseMetadata": {"HTTPHeaders": {"content-type": "text/html"}}}

    async def put_object(self, **_: Any) -> dict[str, Any]:
        """Store nothing."""
        return {"ResponseMetadata": {"HTTPHeaders": {}}}


class Page:
    """The body of a page."""

    async def __aenter__(self) -> Page:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read(self) -> bytes:
        """Read all."""
        return b"<html>"


async def test_answer_of_a_proxy_is_none_of_the_store(tmp_path: Path) -> None:
    """A file that was not stored does not count as saved."""
    store = S3Store("s3://fleet/runs", CaptivePortal())
    (path := tmp_path / "run.journal").write_bytes(b"x")
    for call in (store.read_document(), store.replace_document(b"{}", None), store.upload(path, "key")):
        with pytest.raises(StateWriteError, match="s3://fleet/runs: an answer is not from S3; check the endpoint"):
            await call
