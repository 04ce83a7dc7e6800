"""Rule: many trials over the machine's processors: who runs which, and what happens when somebody dies. No decisions.

Each process gets its share beforehand and tells its trials through a pipe of its own. Children look after each trial
whether their parent is still there.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait

from asyncgg.errors import InternalError
from asyncgg.tuning.journal import TrialJournals
from asyncgg.tuning.models import Configuration, Trial
from asyncgg.tuning.trial import TrialSetup, run_trial

__all__ = ["TrialSpec", "run_trials"]

TrialSpec = tuple[Configuration, int]
"""A point and the seed of its dice."""

_MIN_TRIALS_PER_PROCESS = 8
"""Trials; a process costs about as much as so many short ones."""


def run_trials(
    specs: Sequence[TrialSpec],
    setup: TrialSetup,
    *,
    jobs: int | None = None,
    on_trial: Callable[[int], object] = lambda done: None,
) -> list[Trial]:
    """The trials of all `orders`, in their order; `on_trial` is told how many are done. Blocking.

    `jobs` processes at most, as many as there are processors unless told. Raises `InternalError` when one dies.
    """
    jobs = min(jobs or os.cpu_count() or 1, 1 + len(specs) // _MIN_TRIALS_PER_PROCESS)
    trials: dict[int, Trial] = {}
    results = _run_inline(specs, setup) if jobs == 1 else _run_parallel(specs, setup, jobs)
    for number, trial in results:
        trials[number] = trial
        on_trial(len(trials))
    return [trials[number] for number in range(len(specs))]


def _run_inline(specs: Sequence[TrialSpec], setup: TrialSetup) -> Iterator[tuple[int, Trial]]:
    with TrialJournals(setup.workload) as journals:
        for number, (config, seed) in enumerate(specs):
            yield number, run_trial(config, setup, journals, seed)


def _run_parallel(specs: Sequence[TrialSpec], setup: TrialSetup, jobs: int) -> Iterator[tuple[int, Trial]]:
    children: list[multiprocessing.Process] = []
    pipes: list[Connection] = []
    try:
        for job in range(jobs):
            receiver, sender = multiprocessing.Pipe(duplex=False)
            assigned = list(enumerate(specs))[job::jobs]
            child = multiprocessing.Process(target=_worker, args=(sender, assigned, setup, os.getpid()), daemon=True)
            child.start()
            sender.close()
            children.append(child)
            pipes.append(receiver)
        yield from _collect(pipes, len(specs))
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.join()
        for pipe in pipes:
            pipe.close()


def _collect(pipes: Sequence[Connection], remaining: int) -> Iterator[tuple[int, Trial]]:
    open_pipes = list(pipes)
    while open_pipes:
        for pipe in wait(open_pipes):
            assert isinstance(pipe, Connection)
            try:
                item = pipe.recv()
            except EOFError:
                open_pipes.remove(pipe)
                continue
            if isinstance(item, Exception):
                raise item
            remaining -= 1
            yield item
    if remaining:
        raise InternalError(f"a process that tried settings out ended with {remaining} of them untried")


def _on_sigterm(*_: object) -> None:
    """Leave, and take the folder along."""
    raise SystemExit(0)


def _worker(pipe: Connection, assigned: Sequence[tuple[int, TrialSpec]], setup: TrialSetup, parent_pid: int) -> None:
    """The child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the parent's, which ends us
    signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        with TrialJournals(setup.workload) as journals:
            for number, (config, seed) in assigned:
                pipe.send((number, run_trial(config, setup, journals, seed)))
                if os.getppid() != parent_pid:
                    return
    except BrokenPipeError:
        return
    except Exception as error:  # noqa: BLE001 - the parent raises it where it belongs
        pipe.send(error)
