"""Run many trials on all processors of the machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from multiprocessing.connection import Connection
from typing import Final

from asyncgg.errors import InternalError
from asyncgg.tuning.models import Configuration, Trial
from asyncgg.tuning.trial import TrialJournals, TrialSetup, run_trial

TrialSpec = tuple[Configuration, int]
"""A configuration and its random seed."""

_MIN_TRIALS_PER_PROCESS: Final = 8
"""Starting a process costs about as much as this many short trials."""


def run_trials(
    specs: Sequence[TrialSpec],
    setup: TrialSetup,
    *,
    jobs: int | None = None,
    on_trial: Callable[[int], object] = lambda done: None,
) -> list[Trial]:
    """Run all trials and return them in the order of `specs`. Blocking.

    `jobs` is the maximum number of processes, by default one per processor. `on_trial` gets the
    number of trials done. Raises `InternalError` if a process dies.
    """
    jobs = min(jobs or os.cpu_count() or 1, 1 + len(specs) // _MIN_TRIALS_PER_PROCESS)
    trials: dict[int, Trial] = {}
    run = _run_inline if jobs == 1 else _run_parallel
    with TrialJournals(setup.workload) as journals, closing(run(specs, setup, journals, jobs)) as results:
        for number, trial in results:
            trials[number] = trial
            on_trial(len(trials))
    return [trials[number] for number in range(len(specs))]


def _run_inline(
    specs: Sequence[TrialSpec], setup: TrialSetup, journals: TrialJournals, _jobs: int
) -> Generator[tuple[int, Trial]]:
    for number, (config, seed) in enumerate(specs):
        yield number, run_trial(config, setup, journals, seed)


def _run_parallel(
    specs: Sequence[TrialSpec], setup: TrialSetup, journals: TrialJournals, jobs: int
) -> Generator[tuple[int, Trial]]:
    # The workers exit when `lifeline` closes: at the end, after an exception, and after SIGKILL.
    watched, lifeline = multiprocessing.Pipe(duplex=False)
    pool = ProcessPoolExecutor(jobs, initializer=_start_worker, initargs=(setup, journals, watched, lifeline))
    with pool, lifeline:
        numbers = {pool.submit(_run_in_worker, *spec): number for number, spec in enumerate(specs)}
        watched.close()
        try:
            for future in as_completed(numbers):
                yield numbers[future], future.result()
        except BrokenProcessPool:
            raise InternalError("a worker process ended unexpectedly") from None


_worker_arguments: tuple[TrialSetup, TrialJournals]


def _start_worker(setup: TrialSetup, journals: TrialJournals, watched: Connection, lifeline: Connection) -> None:
    global _worker_arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    lifeline.close()
    _worker_arguments = setup, journals
    threading.Thread(target=_exit_with_parent, args=(watched, journals), daemon=True).start()


def _exit_with_parent(watched: Connection, journals: TrialJournals) -> None:
    watched.poll(None)  # returns at the end of the pipe
    journals.close()
    os._exit(0)


def _run_in_worker(config: Configuration, seed: int) -> Trial:
    setup, journals = _worker_arguments
    return run_trial(config, setup, journals, seed)
