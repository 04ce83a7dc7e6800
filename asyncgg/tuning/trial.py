"""Run one configuration on the virtual clock with the real engine, limiter, policy and journal."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asyncgg.engine import Engine, Lane
from asyncgg.journal import JournalStore, JournalWriter, schema
from asyncgg.models import MAX_BATCH, RunState
from asyncgg.ratelimit import DOCUMENTED_QUOTA
from asyncgg.runs.execute import engine_options
from asyncgg.runs.plan import rate_policy
from asyncgg.settings import build_settings
from asyncgg.testing import FakeService, Scenario, run_virtual
from asyncgg.tuning.models import Configuration, Trial, Workload
from asyncgg.tuning.settings_file import to_settings

_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - mkdtemp creates a private folder in it
_PLACEHOLDER_NAMES: Final = " ".join("x" * MAX_BATCH)


@dataclass(frozen=True, slots=True)
class TrialSetup:
    """What all trials of a sweep have in common."""

    scenario: Scenario
    workload: Workload
    documented: float = DOCUMENTED_QUOTA
    """First rate of the rate policy: the documented quota of the Region."""


class TrialJournals(AbstractContextManager["TrialJournals"]):
    """A temporary folder, in memory if possible, for journals of one workload."""

    def __init__(self, workload: Workload) -> None:
        self._folder = Path(
            tempfile.mkdtemp(prefix="asyncgg-tune-", dir=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None)
        )
        self._template = self._folder / "template.journal"
        try:
            _create_template(self._template, workload)
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder."""
        removed = self._folder.with_suffix(".removed")
        with suppress(OSError):  # another process removes it
            self._folder.rename(removed)  # no file is created in it from now on
        shutil.rmtree(removed, ignore_errors=True)

    @contextmanager
    def open_journal(self) -> Iterator[JournalWriter]:
        """Open a new journal with the whole workload; the file is deleted on exit."""
        path = self._folder / f"trial-{os.getpid()}.journal"
        shutil.copyfile(self._template, path)
        journal = JournalWriter(path, threaded=False, durable=False)
        try:
            yield journal
        finally:
            journal.close()
            path.unlink(missing_ok=True)


def run_trial(config: Configuration, setup: TrialSetup, journals: TrialJournals, seed: int = 0) -> Trial:
    """Run the whole workload; the same seed gives the same trial.

    CPU time costs no virtual time: a rate that the machine cannot reach looks reachable.
    """
    with journals.open_journal() as journal:
        return run_virtual(_run(config, setup, journal, seed))


async def _run(config: Configuration, setup: TrialSetup, journal: JournalWriter, seed: int) -> Trial:
    await journal.submit(JournalStore.begin_resume)
    service = FakeService(setup.scenario, seed=seed, record_log=False)
    settings = build_settings({"quota": setup.documented}, to_settings(config))
    options = engine_options(settings)
    engine = Engine(journal, Lane(service, rate_policy(settings, None), retry=options.retry), options)
    clock = asyncio.get_running_loop().time
    started_at = clock()
    result = await engine.run()
    return Trial(
        config,
        clock() - started_at,
        service.sent,
        service.throttled,
        service.max_in_flight,
        result.state in {RunState.COMPLETE, RunState.PARTIAL},
    )


def _create_template(path: Path, workload: Workload) -> None:
    # Importing 10 million names would take a minute. Equal placeholder names cost a trial the same
    # work, and the fake service ignores them.
    with closing(schema.create(path)) as connection:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO meta VALUES (?, ?)", [("run", "trial"), ("state", RunState.PLANNED.value)])
        first = 1
        for number in range(workload.cores):
            batches = workload.batches_for_core(number)
            last = first + batches * MAX_BATCH - 1
            if not batches:
                break
            connection.execute("INSERT INTO core VALUES (?, ?, ?, ?)", (number + 1, f"core-{number + 1}", first, last))
            connection.executemany(
                "INSERT INTO name_block VALUES (?, ?)",
                [(low, _PLACEHOLDER_NAMES) for low in range(first, last, MAX_BATCH)],
            )
            first = last + 1
        connection.execute("COMMIT")
        schema.finish_import(connection)
