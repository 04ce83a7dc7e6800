"""Shadows are on the disk before they are deleted, also after a crash."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from asyncgg.decommission.control_plane import IotControlPlane
from asyncgg.decommission.journal import DecommissionJournal
from asyncgg.decommission.model import DeviceFacts
from asyncgg.decommission.shadow_service import ShadowService
from asyncgg.decommission.shadows import ShadowArchive, ShadowOptions, ShadowSaver
from asyncgg.decommission.steps import StepRecorder
from asyncgg.errors import JournalWriteError

pytestmark = [pytest.mark.asyncio]

FACTS = DeviceFacts("d", thing_id="1")


class CrashError(BaseException):
    """The process ends here."""


@dataclass
class FakeShadows(ShadowService):
    """Shadows of one thing; `crash` ends the process `before` or `after` a deletion."""

    documents: dict[str, str] = field(default_factory=lambda: {"": "{}", "a b": '{"n": 1}'})
    crash: str = ""
    saved: ShadowArchive | None = None

    async def list_names(self, thing: str) -> list[str]:
        """See `ShadowService`."""
        return [name for name in self.documents if name]

    async def get(self, thing: str, name: str) -> str | None:
        """See `ShadowService`."""
        return self.documents.get(name)

    async def delete(self, thing: str, name: str) -> str:
        """See `ShadowService`; what is deleted must be in the archive."""
        assert self.saved is not None
        assert (name, self.documents.get(name)) in read(self.saved)
        if self.crash == "before":
            raise CrashError
        del self.documents[name]
        if self.crash == "after":
            raise CrashError
        return "request"


def read(archive: ShadowArchive) -> list[tuple[str, str]]:
    """Name and document of each saved shadow; a line that was not completed does not count."""
    lines = archive.path.read_text().splitlines()
    shadows = [json.loads(line) for line in lines if line.endswith("}")]
    return [(shadow["shadow"], shadow["document"]) for shadow in shadows]


def open_journal(path: Path) -> DecommissionJournal:
    """The journal at `path`, a new one if it does not exist."""
    return DecommissionJournal(path) if path.exists() else DecommissionJournal.create(path, ["d"])


async def process(path: Path, shadows: FakeShadows, *, delete: bool = True) -> DecommissionJournal:
    """Save and delete the shadows with the journal at `path`; returns it closed."""
    shadows.saved = ShadowArchive(path)
    with open_journal(path) as journal:
        steps = StepRecorder(journal, "delete", cast(IotControlPlane, None))
        await ShadowSaver(steps, ShadowOptions(shadows, shadows.saved, delete)).process(FACTS)
        assert {step.state for step in journal.steps().values()} <= {"done"}
        return journal


@pytest.mark.parametrize("crash", ["before", "after"])
async def test_shadows_are_deleted_after_a_crash(tmp_path: Path, crash: str) -> None:
    """Each shadow is saved and deleted, wherever the process ended."""
    shadows = FakeShadows(crash=crash)
    documents = dict(shadows.documents)
    for _ in documents:
        with pytest.raises(CrashError):
            await process(tmp_path / "j", shadows)
        if crash == "before":
            break
    shadows.crash = ""
    await process(tmp_path / "j", shadows)
    assert shadows.documents == {}
    assert shadows.saved is not None
    assert dict(read(shadows.saved)) == documents
    assert shadows.saved.path.stat().st_mode & 0o777 == 0o600


async def test_shadows_are_saved_only_once_without_deletion(tmp_path: Path) -> None:
    """A second start saves nothing again, and the shadows stay."""
    shadows = FakeShadows()
    await process(tmp_path / "j", shadows, delete=False)
    await process(tmp_path / "j", shadows, delete=False)
    assert len(shadows.documents) == 2
    assert shadows.saved is not None
    assert len(read(shadows.saved)) == 2


async def test_archive_continues_after_half_a_line(tmp_path: Path) -> None:
    """What a killed process left is ended by a new line; a write error names the file."""
    archive = ShadowArchive(tmp_path / "j")
    archive.path.write_text('{"shadow": "x", "doc')
    await archive.append({"shadow": "y", "document": "{}"})
    assert read(archive) == [("y", "{}")]
    with pytest.raises(JournalWriteError, match=r"shadows\.jsonl"):
        await ShadowArchive(tmp_path / "missing" / "j").append({})
