"""Rule: what stays from one night to the next lives here: a folder for each, one process at a time, the oldest removed.

    STATE/cleanup.lock            while a clean-up is going
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
from asyncgg.files import atomic_write_text
from asyncgg.journal import FileLock, is_locked

__all__ = ["RunDirectory", "StateDirectory", "latest_snapshot"]

_RUN_NAME: Final = re.compile(r"\d{8}T\d{6}Z(?:-\d+)?\Z")
_DRY_RUN: Final = "dry-run"
_DISK_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})


@dataclass(frozen=True, slots=True)
class RunDirectory:
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
    def journal_draft(self) -> Path:
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
    def canary_snapshot(self) -> Path:
        """The listing that verifies the first things."""
        return self.folder / "canary.db"

    @property
    def report(self) -> Path:
        """How it ended."""
        return self.folder / "report.json"

    @property
    def has_journal(self) -> bool:
        """Whether it had been decided what goes, and something did."""
        return self.journal.exists()

    def load_report(self) -> dict[str, Any]:
        """Its report; empty when there is none, or none that can be read."""
        try:
            document = json.loads(self.report.read_bytes())
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def state(self) -> str:
        """How it ended by its report, empty when there is none."""
        return str(self.load_report().get("state", ""))

    def write_report(self, document: Mapping[str, Any]) -> None:
        """Put the report in its place. Raises `StateWriteError`."""
        with self.atomic_write(self.report, self.journal, "journal") as file:
            json.dump(document, file, indent=1)
            file.write("\n")

    @contextlib.contextmanager
    def atomic_write(self, path: Path, source: Path, kind: str) -> Iterator[IO[str]]:
        """As `written`, for one of its files. Raises `StateWriteError`: what fails is the disk, and nobody's usage."""
        try:
            with atomic_write_text(path, source, kind) as file:
                yield file
        except UsageError as error:
            if type(error) is not UsageError:  # a damaged snapshot, say, that is read meanwhile
                raise
            raise StateWriteError(str(error)) from None

    def reset_decisions(self) -> None:
        """Remove what an earlier start decided without having sent any of it; the snapshot stays."""
        for path in (self.report, self.decisions, self.canary_snapshot, self.journal_draft):
            self.remove(path)

    def commit_decisions(self) -> None:
        """The draft is whole: from here on it is the run. Raises `StateWriteError`."""
        try:
            self.journal_draft.rename(self.journal)
        except OSError as error:
            raise _write_error(self.journal, error) from None

    def remove(self, path: Path) -> None:
        """Remove one of its files, and what SQLite put beside it. Raises `StateWriteError`."""
        try:
            for suffix in ("", "-wal", "-shm", "-journal"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            raise _write_error(path, error) from None


class StateDirectory:
    """The state of one policy. Raises `UsageError` when its folder cannot be used, `StateWriteError` on a full disk."""

    def __init__(self, folder: Path, keep_runs: int) -> None:
        self.folder = folder.absolute()  # journals name their snapshot, and may be asked from another directory
        self._keep_runs = keep_runs
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _write_error(self.folder, error) from None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Nobody else runs this policy within the block. Raises `GuardError` when somebody does."""
        try:
            run_lock = FileLock(self.folder / "cleanup")
        except JournalError as error:
            if isinstance(error.__context__, BlockingIOError):
                raise GuardError(
                    f"{self.folder}: this policy is being run by another process already; nothing was sent by this one"
                ) from None
            if isinstance(error.__context__, OSError):
                raise _write_error(self.folder, error.__context__) from None
            raise
        try:
            yield
        finally:
            run_lock.release()

    def run_directories(self) -> list[RunDirectory]:
        """Every night there is, in the order they were begun."""
        try:
            return _list_run_directories(self.folder)
        except OSError as error:
            raise _write_error(self.folder, error) from None

    def latest(self) -> RunDirectory | None:
        """The one begun last."""
        run_dirs = self.run_directories()
        return run_dirs[-1] if run_dirs else None

    def create(self, now: float) -> RunDirectory:
        """A new night; `now` in seconds since 1970. Names never go back, even if the clock does."""
        stem, number, latest = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)), 1, self.latest()
        if latest is not None and _sort_key(latest.name) >= (stem, 1):
            stem, number = _sort_key(latest.name)
            number += 1
        return self._create(stem if number == 1 else f"{stem}-{number}")

    def dry_run_directory(self) -> RunDirectory:
        """The folder of dry runs, empty."""
        shutil.rmtree(self.folder / _DRY_RUN, ignore_errors=True)
        return self._create(_DRY_RUN)

    def prune(self, exclude: RunDirectory | None) -> list[str]:
        """Remove the oldest nights until `keep` are left; their names.

        Never `but`, nor one whose run somebody runs; and one that cannot be removed stays.
        """
        removed = []
        for run_dir in self.run_directories()[: -self._keep_runs]:
            if run_dir == exclude or is_locked(run_dir.journal):
                continue
            shutil.rmtree(run_dir.folder, ignore_errors=True)
            if not run_dir.folder.exists():
                removed.append(run_dir.name)
        return removed

    def _create(self, name: str) -> RunDirectory:
        folder = self.folder / name
        try:
            folder.mkdir()
        except OSError as error:
            raise _write_error(folder, error) from None
        return RunDirectory(folder)


def latest_snapshot(folder: Path) -> Path | None:
    """The newest snapshot in a policy's state `folder`, dry runs' among them; None when there is none."""
    if not folder.is_dir():
        return None
    paths = [
        run_dir.snapshot
        for run_dir in (*_list_run_directories(folder), RunDirectory(folder / _DRY_RUN))
        if run_dir.snapshot.is_file()
    ]
    return max(paths, key=lambda path: path.stat().st_mtime, default=None)


def _list_run_directories(folder: Path) -> list[RunDirectory]:
    entries = [entry for entry in folder.iterdir() if _RUN_NAME.match(entry.name) and entry.is_dir()]
    return [RunDirectory(entry) for entry in sorted(entries, key=lambda entry: _sort_key(entry.name))]


def _sort_key(name: str) -> tuple[str, int]:
    stem, _, number = name.partition("-")
    return stem, int(number or 1)


def _write_error(path: Path, error: OSError) -> AsyncggError:
    kind = StateWriteError if error.errno in _DISK_ERRORS else UsageError
    return kind(f"{path}: the policy's state cannot be kept there: {error.strerror}")
