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
from asyncgg.tuning.journal import Bench
from asyncgg.tuning.trial import Setup, try_out
from asyncgg.tuning.values import Point, Trial

__all__ = ["Order", "run_trials"]

Order = tuple[Point, int]
"""A point and the seed of its dice."""

_WORTH_A_PROCESS = 8
"""Trials; a process costs about as much as so many short ones."""


def run_trials(
    orders: Sequence[Order],
    setup: Setup,
    *,
    jobs: int | None = None,
    on_trial: Callable[[int], object] = lambda done: None,
) -> list[Trial]:
    """The trials of all `orders`, in their order; `on_trial` is told how many are done. Blocking.

    `jobs` processes at most, as many as there are processors unless told. Raises `InternalError` when one dies.
    """
    jobs = min(jobs or os.cpu_count() or 1, 1 + len(orders) // _WORTH_A_PROCESS)
    found: dict[int, Trial] = {}
    results = _alone(orders, setup) if jobs == 1 else _together(orders, setup, jobs)
    for number, trial in results:
        found[number] = trial
        on_trial(len(found))
    return [found[number] for number in range(len(orders))]


def _alone(orders: Sequence[Order], setup: Setup) -> Iterator[tuple[int, Trial]]:
    with Bench(setup.work) as bench:
        for number, (point, seed) in enumerate(orders):
            yield number, try_out(point, setup, bench, seed)


def _together(orders: Sequence[Order], setup: Setup, jobs: int) -> Iterator[tuple[int, Trial]]:
    children: list[multiprocessing.Process] = []
    pipes: list[Connection] = []
    try:
        for job in range(jobs):
            ours, theirs = multiprocessing.Pipe(duplex=False)
            share = list(enumerate(orders))[job::jobs]
            child = multiprocessing.Process(target=_serve, args=(theirs, share, setup, os.getpid()), daemon=True)
            child.start()
            theirs.close()
            children.append(child)
            pipes.append(ours)
        yield from _listen(pipes, len(orders))
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.join()
        for pipe in pipes:
            pipe.close()


def _listen(pipes: Sequence[Connection], expected: int) -> Iterator[tuple[int, Trial]]:
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
            expected -= 1
            yield item
    if expected:
        raise InternalError(f"a process that tried settings out ended with {expected} of them untried")


def _end(*_: object) -> None:
    """Leave, and take the folder along."""
    raise SystemExit(0)


def _serve(pipe: Connection, share: Sequence[tuple[int, Order]], setup: Setup, parent: int) -> None:
    """The child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the parent's, which ends us
    signal.signal(signal.SIGTERM, _end)
    try:
        with Bench(setup.work) as bench:
            for number, (point, seed) in share:
                pipe.send((number, try_out(point, setup, bench, seed)))
                if os.getppid() != parent:
                    return
    except BrokenPipeError:
        return
    except Exception as error:  # noqa: BLE001 - the parent raises it where it belongs
        pipe.send(error)
