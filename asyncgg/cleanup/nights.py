"""Rule: what stays from one night to the next lives here: a folder for each, one process at a time, the oldest removed.

    STATE/tonight.lock            while a clean-up is going
    STATE/20260131T020000Z/       one night: fleet.db, decisions.csv.gz, run.journal, canary.db, report.json
    STATE/dry-run/                the same of the last dry run

A night without a report was killed. A journal is made under another name and gets its own when it is whole: where there
is a run.journal, everything was decided.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from asyncgg.errors import AsyncggError, GuardError, JournalError, StateWriteError, UsageError
from asyncgg.journal import FileLock, is_locked
from asyncgg.manifest.writing import atomic_write_text

__all__ = ["Night", "Nights", "newest_snapshot"]

_NAME: Final = re.compile(r"\d{8}T\d{6}Z(?:-\d+)?\Z")
_DRY_RUN: Final = "dry-run"
_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})


@dataclass(frozen=True, slots=True)
class Night:
    """One night's folder."""

    folder: Path

    @property
    def name(self) -> str:
        """When it began, in UTC."""
        return self.folder.name

    @property
    def snapshot(self) -> Path:
        """What the sweep found."""
        return self.folder / "fleet.db"

    @property
    def draft(self) -> Path:
        """The run, while it is being decided what goes."""
        return self.folder / "draft.journal"

    @property
    def journal(self) -> Path:
        """The run."""
        return self.folder / "run.journal"

    @property
    def decisions(self) -> Path:
        """What became of every association that was looked at, and why."""
        return self.folder / "decisions.csv.gz"

    @property
    def canary(self) -> Path:
        """The listing that verifies the first things."""
        return self.folder / "canary.db"

    @property
    def report(self) -> Path:
        """How it ended."""
        return self.folder / "report.json"

    @property
    def decided(self) -> bool:
        """Whether it had been decided what goes, and something did."""
        return self.journal.exists()

    def told(self) -> dict[str, Any]:
        """Its report; empty when there is none, or none that can be read."""
        try:
            document = json.loads(self.report.read_bytes())
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def state(self) -> str:
        """How it ended by its report, empty when there is none."""
        return str(self.told().get("state", ""))

    def write_report(self, document: Mapping[str, Any]) -> None:
        """Put the report in its place. Raises `StateWriteError`."""
        with self.writing(self.report, self.journal, "journal") as file:
            json.dump(document, file, indent=1)
            file.write("\n")

    @contextlib.contextmanager
    def writing(self, path: Path, source: Path, kind: str) -> Iterator[IO[str]]:
        """As `written`, for one of its files. Raises `StateWriteError`: what fails is the disk, and nobody's usage."""
        try:
            with atomic_write_text(path, source, kind) as file:
                yield file
        except UsageError as error:
            if type(error) is not UsageError:  # a damaged snapshot, say, that is read meanwhile
                raise
            raise StateWriteError(str(error)) from None

    def begin_deciding(self) -> None:
        """Remove what an earlier start decided without having sent any of it; the snapshot stays."""
        for path in (self.report, self.decisions, self.canary, self.draft):
            self.remove(path)

    def end_deciding(self) -> None:
        """The draft is whole: from here on it is the run. Raises `StateWriteError`."""
        try:
            self.draft.rename(self.journal)
        except OSError as error:
            raise _trouble(self.journal, error) from None

    def remove(self, path: Path) -> None:
        """Remove one of its files, and what SQLite put beside it. Raises `StateWriteError`."""
        try:
            for ending in ("", "-wal", "-shm", "-journal"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
        except OSError as error:
            raise _trouble(path, error) from None


class Nights:
    """The state of one policy. Raises `UsageError` when its folder cannot be used, `StateWriteError` on a full disk."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder.absolute()  # journals name their snapshot, and may be asked from another directory
        self._keep = keep
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _trouble(self.folder, error) from None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else runs this policy within the block. Raises `GuardError` when somebody does."""
        try:
            lock = FileLock(self.folder / "tonight")
        except JournalError as error:
            if isinstance(error.__context__, BlockingIOError):
                raise GuardError(
                    f"{self.folder}: this policy is being run by another process already; nothing was sent by this one"
                ) from None
            if isinstance(error.__context__, OSError):
                raise _trouble(self.folder, error.__context__) from None
            raise
        try:
            yield
        finally:
            lock.release()

    def all(self) -> list[Night]:
        """Every night there is, in the order they were begun."""
        try:
            return _nights(self.folder)
        except OSError as error:
            raise _trouble(self.folder, error) from None

    def last(self) -> Night | None:
        """The one begun last."""
        nights = self.all()
        return nights[-1] if nights else None

    def begin(self, now: float) -> Night:
        """A new night; `now` in seconds since 1970. Names never go back, even if the clock does."""
        stem, number, last = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)), 1, self.last()
        if last is not None and _order(last.name) >= (stem, 1):
            stem, number = _order(last.name)
            number += 1
        return self._made(stem if number == 1 else f"{stem}-{number}")

    def rehearse(self) -> Night:
        """The folder of dry runs, empty."""
        shutil.rmtree(self.folder / _DRY_RUN, ignore_errors=True)
        return self._made(_DRY_RUN)

    def rotate(self, but: Night | None) -> list[str]:
        """Remove the oldest nights until `keep` are left; their names.

        Never `but`, nor one whose run somebody runs; and one that cannot be removed stays.
        """
        removed = []
        for night in self.all()[: -self._keep]:
            if night == but or is_locked(night.journal):
                continue
            shutil.rmtree(night.folder, ignore_errors=True)
            if not night.folder.exists():
                removed.append(night.name)
        return removed

    def _made(self, name: str) -> Night:
        folder = self.folder / name
        try:
            folder.mkdir()
        except OSError as error:
            raise _trouble(folder, error) from None
        return Night(folder)


def newest_snapshot(folder: Path) -> Path | None:
    """The newest snapshot in a policy's state `folder`, dry runs' among them; None when there is none."""
    if not folder.is_dir():
        return None
    paths = [night.snapshot for night in (*_nights(folder), Night(folder / _DRY_RUN)) if night.snapshot.is_file()]
    return max(paths, key=lambda path: path.stat().st_mtime, default=None)


def _nights(folder: Path) -> list[Night]:
    found = [entry for entry in folder.iterdir() if _NAME.match(entry.name) and entry.is_dir()]
    return [Night(entry) for entry in sorted(found, key=lambda entry: _order(entry.name))]


def _order(name: str) -> tuple[str, int]:
    stem, _, number = name.partition("-")
    return stem, int(number or 1)


def _trouble(path: Path, error: OSError) -> AsyncggError:
    kind = StateWriteError if error.errno in _DISK else UsageError
    return kind(f"{path}: the policy's state cannot be kept there: {error.strerror}")
