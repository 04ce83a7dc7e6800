"""What every store of states must do, and what is particular to each."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from asyncgg.errors import CredentialsError, StateWriteError, UsageError
from asyncgg.state import VersionConflictError, open_store
from asyncgg.transport import ConnectionConfig
from tests.integration.state.conftest import CONNECTION


async def test_document_is_replaced_only_at_its_version(location: str) -> None:
    """A replacement of another version than the current one changes nothing."""
    async with open_store(location, CONNECTION) as store:
        assert await store.read_document() is None
        first = await store.replace_document(b"1", None)
        with pytest.raises(VersionConflictError):
            await store.replace_document(b"x", None)
        second = await store.replace_document(b"2", first)
        with pytest.raises(VersionConflictError):
            await store.replace_document(b"x", first)
        stored = await store.read_document()
        assert stored is not None
        assert (stored.data, stored.version) == (b"2", second)
        assert 0 <= stored.age < 5


async def test_replacements_at_once_have_one_winner(location: str) -> None:
    """Of many replacements of one version in turn, each round has one that succeeds."""
    async with open_store(location, CONNECTION) as store:
        version = await store.replace_document(b"start", None)
        for number in range(5):
            results = await asyncio.gather(
                *(store.replace_document(b"%d-%d" % (number, other), version) for other in range(2)),
                return_exceptions=True,
            )
            won = [result for result in results if isinstance(result, str)]
            stored = await store.read_document()
            assert stored is not None
            assert stored.version in won
            if not location.startswith("s3:"):  # moto checks and writes in two steps
                assert len(won) == 1
            version = stored.version


async def test_files_are_stored_whole(location: str, tmp_path: Path) -> None:
    """An uploaded file is downloaded as it was; a deleted one is missing."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 10_000)
    async with open_store(location, CONNECTION) as store:
        await store.upload(source, "files/a run/b.journal.1")
        await store.download("files/a run/b.journal.1", target)
        assert target.read_bytes() == source.read_bytes()
        await store.delete("files/a run/b.journal.1")
        await store.delete("files/a run/b.journal.1")
        with pytest.raises(FileNotFoundError):
            await store.download("files/a run/b.journal.1", target)


async def test_document_survives_the_store(location: str) -> None:
    """Another process reads what was stored."""
    async with open_store(location, CONNECTION) as store:
        await store.replace_document(b"1", None)
    async with open_store(location, CONNECTION) as store:
        stored = await store.read_document()
        assert stored is not None
        assert stored.data == b"1"


async def test_folder_rejects_a_number_that_was_deleted(tmp_path: Path) -> None:
    """A process that was stopped for many versions cannot write the next one after its own."""
    async with open_store(str(tmp_path), CONNECTION) as store:
        stale = version = await store.replace_document(b"1", None)
        for _ in range(9):
            version = await store.replace_document(b"new", version)
        assert not (tmp_path / "state-000000000002.json").exists()
        with pytest.raises(VersionConflictError):
            await store.replace_document(b"stale", stale)
        stored = await store.read_document()
        assert stored is not None
        assert (stored.data, stored.version) == (b"new", version)
        assert not [name for name in os.listdir(tmp_path) if name.startswith("draft-")]  # noqa: PTH208 - of a test


async def test_folder_that_is_a_file_raises(tmp_path: Path) -> None:
    """A location that cannot be a folder is an error of the caller."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="file"):
        async with open_store(str(tmp_path / "file"), CONNECTION):
            pass


@pytest.mark.parametrize("location", ["s3://", "s3:///prefix", "s3://bucket/prefix?versionId=1"])
async def test_invalid_s3_location_raises(location: str) -> None:
    """Only a bucket and a prefix are a location."""
    with pytest.raises(UsageError, match="BUCKET/PREFIX"):
        async with open_store(location, CONNECTION):
            pass


@pytest.mark.parametrize("location", ["s3"], indirect=True)
async def test_missing_bucket_raises(location: str) -> None:
    """A bucket that does not exist is an error of the caller."""
    async with open_store("s3://no-such-bucket-here/x", CONNECTION) as store:
        with pytest.raises(UsageError, match="no such bucket"):
            await store.read_document()


@pytest.mark.parametrize("location", ["s3"], indirect=True)
async def test_unreachable_s3_raises(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not answer is no error of the caller."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    async with open_store(location, CONNECTION) as store:
        with pytest.raises(StateWriteError, match="S3"):
            await store.read_document()


@pytest.mark.parametrize("location", ["s3"], indirect=True)
async def test_missing_credentials_raise(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials the error is one of credentials."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(CredentialsError):
        async with open_store(location, CONNECTION):
            pass


@pytest.mark.parametrize("location", ["s3"], indirect=True)
async def test_custom_endpoint_calls_no_other_host(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an endpoint for Greengrass only, S3 is not called at AWS."""
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL_S3"):
        async with open_store(location, ConnectionConfig(endpoint_url="http://127.0.0.1:1")):
            pass
