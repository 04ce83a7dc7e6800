"""The runs whose journals are in a folder or in a state."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from asyncgg.errors import AsyncggError, UsageError
from asyncgg.files import os_errors_as
from asyncgg.formatting import format_count, format_elapsed, format_timestamp
from asyncgg.journal import JournalReader
from asyncgg.journal.schema import FORMAT
from asyncgg.models import RunState, Summary
from asyncgg.report.summary import summary_from_dict

SCHEMA: Final = "asyncgg.runs/1"
_SUFFIX: Final = ".journal"
_VERDICTS: Final = {RunState.PLANNED: "not started", RunState.DEADLINE: "deadline"}


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run of a folder."""

    summary: Summary
    created_at: float
    """Seconds since 1970, UTC."""
    source: str
    """The manifest, list or policy."""

    @property
    def verdict(self) -> str:
        """How the run ended, in a word or two."""
        if self.summary.state is RunState.PARTIAL:
            return f"{self.summary.failed:,} failed"
        return _VERDICTS.get(self.summary.state, self.summary.state.value)


@dataclass(frozen=True, slots=True)
class RunList:
    """The runs of a folder and of the folders in it, newest first."""

    runs: tuple[ListedRun, ...]
    skipped: tuple[str, ...]
    """Why a file was left out that has the suffix or the header of a journal."""


def list_runs(folder: Path, others: Mapping[Path, Callable[[], ListedRun]] | None = None) -> RunList:
    """The runs of `folder` and the folders directly in it. Raises `UsageError` if it cannot be read.

    `others`: journals of another kind, and folders that count as one run each.
    """
    runs, skipped = [], []
    for load in (others or {}).values():
        try:
            runs.append(load())
        except (AsyncggError, ValueError, KeyError) as error:
            skipped.append(str(error))
    for path in find_journals(folder):
        if others and (path in others or path.parent in others):
            continue
        try:
            with JournalReader(path) as reader:
                meta = reader.meta()
                runs.append(ListedRun(reader.summary(), float(meta.get("created", 0.0)), meta.get("source", "")))
        except (AsyncggError, ValueError) as error:
            skipped.append(str(error))
    runs.sort(key=lambda run: (-run.created_at, run.summary.journal))
    return RunList(tuple(runs), tuple(skipped))


def runs_of_state(summaries: Mapping[str, Mapping[str, Any]], location: str, *, is_running: bool) -> RunList:
    """The runs of the state at `location`, newest first, from their saved summaries.

    `is_running`: whether a process runs the state; otherwise a run that was running was killed.
    """
    runs, skipped = [], []
    for name, document in summaries.items():
        try:
            summary = replace(summary_from_dict(document), journal=f"{location}: {name}/run.journal")
            if summary.state is RunState.RUNNING and not is_running:
                summary = replace(summary, state=RunState.INTERRUPTED)
            started = datetime.strptime(name.partition("-")[0] + "+0000", "%Y%m%dT%H%M%SZ%z").timestamp()
        except ValueError as error:
            skipped.append(f"{name}: {error}")
        else:
            runs.append(ListedRun(summary, started, str(document.get("source", ""))))
    return RunList(tuple(reversed(runs)), tuple(skipped))


def find_journals(folder: Path) -> Iterator[Path]:
    """The journals of `folder` and the folders directly in it. Raises `UsageError` if it cannot be read."""
    with os_errors_as(UsageError, f"{folder}: cannot read the folder"):
        entries = sorted(folder.iterdir())
    for entry in entries:
        if entry.is_dir():
            if os.access(entry, os.R_OK | os.X_OK):
                yield from filter(_is_journal, sorted(entry.iterdir()))
        elif _is_journal(entry):
            yield entry


def _is_journal(path: Path) -> bool:
    return path.is_file() and (path.suffix == _SUFFIX or FORMAT.is_marked(path))


def run_list_to_dict(found: RunList, folder: Path | str) -> dict[str, Any]:
    """The list as `asyncgg.runs/1`."""
    return {
        "schema": SCHEMA,
        "folder": str(folder),
        "runs": [
            {
                "run": run.summary.run,
                "journal": run.summary.journal,
                "operation": run.summary.operation.value,
                "source": run.source,
                "state": run.summary.state.value,
                "things": run.summary.total,
                run.summary.operation.past_participle: run.summary.disassociated,
                "already": run.summary.already,
                "failed": run.summary.failed,
                "pending": run.summary.pending,
                "seconds": round(run.summary.seconds, 3),
                "created_at": format_timestamp(run.created_at),
            }
            for run in found.runs
        ],
        "skipped": list(found.skipped),
    }


def format_run_list(found: RunList, folder: Path | str, now: float) -> list[str]:
    """The list as a table, with ages as of `now`, a Unix time."""
    rows = [("age", "verdict", "things", "time", "journal")]
    rows += [
        (
            format_elapsed(now - run.created_at),
            run.verdict,
            f"{run.summary.total:,}",
            format_elapsed(run.summary.seconds),
            run.summary.journal,
        )
        for run in found.runs
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"{age:>{widths[0]}}  {verdict:<{widths[1]}}  {things:>{widths[2]}}  {time:>{widths[3]}}  {journal}"
        for age, verdict, things, time, journal in rows
    ]
    if not found.runs:
        lines = [f"no runs in {folder}"]
    if found.skipped:
        lines.append(f"skipped {format_count(len(found.skipped), 'file')} that cannot be used; --json says why")
    return lines
