"""Rule: what one start of a sweep counts and writes down goes through here; it asks for nothing and decides nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from asyncgg.engine import StopReason
from asyncgg.errors import AsyncggError
from asyncgg.inventory.agenda import Agenda, Listing
from asyncgg.inventory.chain import Chain
from asyncgg.inventory.opening import Scope, begin_or_resume, refuse_finished
from asyncgg.inventory.store import Store
from asyncgg.inventory.values import CoreState, Counts, Swept
from asyncgg.inventory.writer import SnapshotWriter
from asyncgg.model import ClientDevice, CoreDevice, RunState

__all__ = ["Books"]

_COUNTED: Final = ("sent", "throttled", "retried")


class Books:
    """The figures of this start, and the snapshot they are about.

    Raises `SnapshotError` when the file cannot be used for a sweep of `scope`; every call that posts raises
    `SnapshotWriteError` once it cannot be written.
    """

    def __init__(self, path: Path, scope: Scope, max_age: float, *, threaded: bool = True) -> None:
        self.sent = self.throttled = self.retried = 0
        self.cores = 0
        """Known so far, by all starts."""
        self.associations = 0
        """Told so far, by all starts; those told twice count twice until the end."""
        self._clock = asyncio.get_running_loop().time
        self._started = self._clock()
        self._path = path
        self._names: set[str] = set()
        refuse_finished(path)
        self._writer = SnapshotWriter(path, threaded=threaded)
        try:
            self._writer.at_once(lambda store: begin_or_resume(store, path, scope, max_age))
            self._before = self._writer.at_once(_figures)
        except BaseException:
            self.close()
            raise

    @property
    def seconds(self) -> float:
        """Since this start."""
        return self._clock() - self._started

    def begin(self, agenda: Agenda, on_failure: Callable[[AsyncggError], None]) -> None:
        """Put on the agenda what is still to be listed."""
        self._writer.failed = on_failure
        self._writer.at_commit = self._keep_figures
        names, waiting, counts, cores_token, cores_left = self._writer.at_once(_left)
        self._names.update(names)
        self.cores, self.associations = len(self._names), counts.associations
        if cores_left:
            agenda.add(Listing(token=cores_token, chain=Chain(cores_token)))
        for number, name, token in waiting:
            agenda.add(Listing(number, name, token, chain=Chain(token)))

    async def room(self) -> None:
        """Wait while the disk cannot keep up."""
        await self._writer.room()

    def cores_page(self, cores: Sequence[CoreDevice], token: str) -> list[tuple[int, str]]:
        """Keep a page of cores; number and name of those that were not known."""
        new = [core for core in {core.name: core for core in cores}.values() if core.name not in self._names]
        self._names.update(core.name for core in new)
        first = self.cores + 1
        self.cores += len(new)
        self._writer.post(partial(_keep_cores, first, new, token))
        return [(number, core.name) for number, core in enumerate(new, first)]

    def devices_page(self, core: int, devices: Sequence[ClientDevice], token: str) -> None:
        """Keep a page of a core's client devices."""
        self.associations += len(devices)
        self._writer.post(lambda store: store.page(core, devices, token))

    def odd(self, number: int) -> None:
        """Count items whose name was none."""
        self._writer.post(lambda store: store.odd(number))

    def begin_anew(self, core: int) -> None:
        """The core's list is read from its first page again; 0: the list of cores."""
        self._writer.post((lambda store: store.begin_anew(core)) if core else (lambda store: store.put(cores_token="")))

    def end(self, core: int, state: CoreState, code: str, message: str) -> None:
        """The core's list is given up."""
        self._writer.post(lambda store: store.end(core, state, code, message))

    async def finish(self, done: bool, stop: StopReason) -> Swept:
        """Write the end of this start: of the sweep itself when it is `done`, else why it stopped."""

        def end(store: Store) -> tuple[Counts, dict[str, float], int]:
            if done:
                store.finish()
                store.put(finished=1, ended=f"{time.time():.3f}")
            self._keep_figures(store)
            return store.counts(), _figures(store), store.pages()

        counts, figures, pages = await self._writer.do(end)
        state, reason = stop.state, stop.message
        if done:
            lacking = counts.denied + counts.failed
            state, reason = (RunState.PARTIAL, "some cores could not be listed") if lacking else (RunState.COMPLETE, "")
        return Swept(
            path=self._path,
            state=state,
            reason=reason,
            credentials=stop.is_auth_error and not done,
            counts=counts,
            sent=int(figures["sent"]),
            minimum=pages,
            throttled=int(figures["throttled"]),
            retried=int(figures["retried"]),
            seconds=figures["seconds"],
        )

    def close(self) -> None:
        """Write what was posted and let the file go. Blocking."""
        self._writer.close()

    def _keep_figures(self, store: Store) -> None:
        now = {name: int(self._before[name]) + int(getattr(self, name)) for name in _COUNTED}
        store.put(**now, seconds=f"{self._before['seconds'] + self.seconds:.3f}")


def _figures(store: Store) -> dict[str, float]:
    return {name: float(store.get(name, "0")) for name in (*_COUNTED, "seconds")}


def _left(store: Store) -> tuple[list[str], list[tuple[int, str, str]], Counts, str, bool]:
    cores_left = store.get("cores_done") != "1"
    return list(store.names()), store.waiting(), store.counts(), store.get("cores_token"), cores_left


def _keep_cores(first: int, cores: Sequence[CoreDevice], token: str, store: Store) -> None:
    store.add(first, cores)
    store.put(cores_token=token, cores_done=int(not token), cores_pages=int(store.get("cores_pages", "0")) + 1)
