"""The folder that keeps the runs of a policy or of a state: one folder per run, a lock, deletion of old runs."""

# STATE/cleanup.lock         exists during a run
# STATE/20260131T020000Z/    a run: fleet.db, decisions.csv.gz, run.journal, canary.db, report.json
# STATE/dry-run/             the last dry run
#
# A run without a report was killed. A journal gets its name when everything is decided, so a
# run.journal is always complete.

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

from asyncgg.errors import GuardError, StateWriteError, UsageError
from asyncgg.files import atomic_write_text, parse_json_object
from asyncgg.storage import FileLock, LockHeldError, is_locked, remove_file

RUN_NAME: Final = r"[0-9]{8}T[0-9]{6}Z(?:-[0-9]{1,9})?"
"""Regular expression of the name of a run."""
_DRY_RUN: Final = "dry-run"
_DISK_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The folder of one run."""

    folder: Path

    @property
    def name(self) -> str:
        """The id of the run: its start in UTC."""
        return self.folder.name

    @property
    def snapshot(self) -> Path:
        """The snapshot of the fleet."""
        return self.folder / "fleet.db"

    @property
    def journal(self) -> Path:
        """The journal of the run."""
        return self.folder / "run.journal"

    @property
    def decisions(self) -> Path:
        """The decision about every association, with its reason."""
        return self.folder / "decisions.csv.gz"

    @property
    def canary_snapshot(self) -> Path:
        """The snapshot that verifies the canary."""
        return self.folder / "canary.db"

    @property
    def report(self) -> Path:
        """The report."""
        return self.folder / "report.json"

    @property
    def has_journal(self) -> bool:
        """Whether everything was decided and something was selected."""
        return self.journal.exists()

    def load_report(self) -> dict[str, Any]:
        """The report; empty if missing or unreadable."""
        try:
            return parse_json_object(self.report.read_bytes())
        except OSError:
            return {}

    def state(self) -> str:
        """The state in the report; empty if there is no report."""
        return str(self.load_report().get("state", ""))

    def write_report(self, document: Mapping[str, Any]) -> None:
        """Write the report. Raises `StateWriteError`."""
        with self.atomic_write(self.report, self.journal, "journal") as file:
            json.dump(document, file, indent=1)
            file.write("\n")

    @contextlib.contextmanager
    def atomic_write(self, path: Path, source: Path, kind: str) -> Iterator[IO[str]]:
        """As `atomic_write_text`, but raises `StateWriteError`, because no user input is wrong."""
        try:
            with atomic_write_text(path, source, kind) as file:
                yield file
        except UsageError as error:
            if type(error) is not UsageError:  # a subclass comes from the block, like a damaged snapshot
                raise
            raise StateWriteError(str(error)) from None

    def reset_decisions(self) -> None:
        """Delete the decisions of an earlier start that sent nothing; keep the snapshot."""
        for path in (self.report, self.decisions, self.canary_snapshot):
            self.remove(path)

    def remove(self, path: Path) -> None:
        """Delete one file and its SQLite side files. Raises `StateWriteError`."""
        with _writing(path):
            remove_file(path)


class StateDirectory:
    """The folder of the runs of one policy, or of a state.

    Raises `UsageError` if the folder cannot be used, and `StateWriteError` if the disk is full or
    fails.
    """

    def __init__(self, folder: Path, keep_runs: int) -> None:
        self.folder = folder.absolute()  # journals contain the path of their snapshot
        self._keep_runs = keep_runs
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Exclude other runs of this policy within the block.

        Raises `GuardError` if another process runs this policy.
        """
        try:
            with _writing(self.folder):
                run_lock = FileLock(self.folder / "cleanup")
        except LockHeldError:
            raise GuardError(f"{self.folder} is in use by another run of this policy; nothing was sent") from None
        with run_lock:
            yield

    def run_directories(self) -> list[RunDirectory]:
        """All runs, oldest first."""
        with _writing(self.folder):
            return list_run_directories(self.folder)

    def latest(self) -> RunDirectory | None:
        """The last run."""
        run_dirs = self.run_directories()
        return run_dirs[-1] if run_dirs else None

    def create(self, now: float) -> RunDirectory:
        """Create the folder of a new run; `now` in seconds since 1970. Names always ascend."""
        stem, number, latest = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)), 1, self.latest()
        if latest is not None and run_sort_key(latest.name) >= (stem, 1):
            stem, number = run_sort_key(latest.name)
            number += 1
        return self._create(stem if number == 1 else f"{stem}-{number}")

    def dry_run_directory(self) -> RunDirectory:
        """Create the folder of a dry run, replacing the last one."""
        shutil.rmtree(self.folder / _DRY_RUN, ignore_errors=True)
        return self._create(_DRY_RUN)

    def prune(self, exclude: RunDirectory | None) -> list[str]:
        """Delete the oldest runs until `keep_runs` remain, and return their names.

        Runs that are in use or cannot be deleted stay, as does `exclude`.
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
        with _writing(folder):
            folder.mkdir()
        return RunDirectory(folder)


def latest_snapshot(folder: Path) -> Path | None:
    """The newest snapshot of all runs and dry runs in a state folder, if any."""
    if not folder.is_dir():
        return None
    paths = [
        run_dir.snapshot
        for run_dir in (*list_run_directories(folder), RunDirectory(folder / _DRY_RUN))
        if run_dir.snapshot.is_file()
    ]
    return max(paths, key=lambda path: path.stat().st_mtime, default=None)


def list_run_directories(folder: Path) -> list[RunDirectory]:
    """The runs in a state folder, oldest first. Raises `OSError`."""
    entries = [entry for entry in folder.iterdir() if re.fullmatch(RUN_NAME, entry.name) and entry.is_dir()]
    return [RunDirectory(entry) for entry in sorted(entries, key=lambda entry: run_sort_key(entry.name))]


def run_sort_key(name: str) -> tuple[str, int]:
    """Orders the names of runs by their start."""
    stem, _, number = name.partition("-")
    return stem, int(number or 1)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into an error of asyncgg that names `path`."""
    try:
        yield
    except OSError as error:
        kind = StateWriteError if error.errno in _DISK_ERRORS else UsageError
        raise kind(f"{path}: cannot write the state of the policy: {error.strerror}") from None
