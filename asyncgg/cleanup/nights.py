"""Rule: what stays from one night to the next lives here: a folder for each, one process at a time, the oldest removed.

    STATE/tonight.lock            while a clean-up is going
    STATE/20260131T020000Z/       one night: fleet.db, run.journal, decisions.csv.gz, canary.db, report.json
    STATE/dry-run/                the same of the last dry run

A night without a report was killed. A night whose journal has something pending can be gone on with.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asyncgg.errors import AsyncggError, GuardError, UsageError
from asyncgg.journal import JournalReader, RunLock, running
from asyncgg.manifest.writing import written
from asyncgg.model import RunState

__all__ = ["Night", "Nights", "newest_snapshot"]

_NAME: Final = re.compile(r"\d{8}T\d{6}Z(?:-\d+)?\Z")
_DRY_RUN: Final = "dry-run"
_RESUMABLE: Final = frozenset({RunState.PLANNED, RunState.INTERRUPTED, RunState.DEADLINE})
"""A run that a guard stopped is not among them: what smelt then is for a person to look at."""


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
    def reported(self) -> bool:
        """Whether it came to an end of its own."""
        return self.report.is_file()

    @property
    def prepared(self) -> bool:
        """Whether its journal is whole: it had been decided what goes."""
        try:
            with JournalReader(self.journal):
                return True
        except AsyncggError:
            return False

    def unfinished_run(self, policy: str) -> bool:
        """Whether its run was stopped or killed, with something left, under the policy whose digest this is."""
        try:
            with JournalReader(self.journal) as reader:
                same = reader.meta().get("policy") == policy
                return same and reader.state() in _RESUMABLE and reader.counts().pending > 0
        except AsyncggError:
            return False

    def write_report(self, document: Mapping[str, Any]) -> None:
        """Put the report in its place. Raises `UsageError` when it cannot be written."""
        with written(self.report, self.journal) as file:
            json.dump(document, file, indent=1)
            file.write("\n")

    def forget(self) -> None:
        """Remove the run and what was decided; the snapshot stays."""
        for path in (self.report, self.decisions, self.canary, self.journal):
            self.remove(path)

    def remove(self, path: Path) -> None:
        """Remove one of its files, and what SQLite put beside it."""
        for ending in ("", "-wal", "-shm", "-journal"):
            path.with_name(path.name + ending).unlink(missing_ok=True)


class Nights:
    """The state of one policy. Raises `UsageError` when its folder cannot be used."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self._keep = keep
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder}: the policy's state cannot be kept there: {error.strerror}") from None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else runs this policy within the block. Raises `GuardError` when somebody does."""
        tonight = self.folder / "tonight"
        if running(tonight):
            raise GuardError(
                f"{self.folder}: this policy is being run by another process already; nothing was sent by this one"
            )
        lock = RunLock(tonight)
        try:
            yield
        finally:
            lock.release()

    def all(self) -> list[Night]:
        """Every night there is, the oldest first."""
        return _nights(self.folder)

    def last(self) -> Night | None:
        """The newest."""
        nights = self.all()
        return nights[-1] if nights else None

    def begin(self, now: float) -> Night:
        """A new night; `now` in seconds since 1970."""
        stem = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        name, number = stem, 1
        while (self.folder / name).exists():
            number += 1
            name = f"{stem}-{number}"
        return self._made(name)

    def rehearse(self) -> Night:
        """The folder of dry runs, empty."""
        shutil.rmtree(self.folder / _DRY_RUN, ignore_errors=True)
        return self._made(_DRY_RUN)

    def rotate(self) -> list[str]:
        """Remove the oldest nights but `keep`; their names. One that cannot be removed stays."""
        removed = []
        for night in self.all()[: -self._keep]:
            shutil.rmtree(night.folder, ignore_errors=True)
            if not night.folder.exists():
                removed.append(night.name)
        return removed

    def _made(self, name: str) -> Night:
        folder = self.folder / name
        try:
            folder.mkdir()
        except OSError as error:
            raise UsageError(f"{folder}: the policy's state cannot be kept there: {error.strerror}") from None
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
