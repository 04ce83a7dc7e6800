"""The counts of one start of a scan, and the snapshot that it writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from asyncgg.engine import StopReason
from asyncgg.errors import AsyncggError
from asyncgg.inventory.models import CoreState, ScanResult, SnapshotCounts
from asyncgg.inventory.queue import Listing, ListingQueue, PageLoopDetector
from asyncgg.inventory.scope import ScanScope, begin_or_resume, require_unfinished
from asyncgg.inventory.store import SnapshotStore
from asyncgg.inventory.writer import SnapshotWriter
from asyncgg.models import ClientDevice, CoreDevice, RunState

_COUNTERS: Final = ("sent", "throttled", "retried")


class ScanState:
    """Counts this start and records pages in the snapshot.

    Raises `SnapshotError` when the file cannot be used for a scan of `scope`; every call that
    writes raises `SnapshotWriteError` after a failed write.
    """

    def __init__(self, path: Path, scope: ScanScope, max_age: float, *, threaded: bool = True) -> None:
        self.sent = self.throttled = self.retried = 0
        self.cores = 0
        """Cores known so far, by all starts."""
        self.associations = 0
        """Associations received so far, by all starts; duplicates count until the end."""
        self._clock = asyncio.get_running_loop().time
        self._started = self._clock()
        self._path = path
        self._core_names: set[str] = set()
        require_unfinished(path)
        self._writer = SnapshotWriter(path, threaded=threaded)
        try:
            self._writer.run_now(lambda store: begin_or_resume(store, path, scope, max_age))
            self._previous_counts = self._writer.run_now(_load_counts)
        except BaseException:
            self.close()
            raise

    @property
    def seconds(self) -> float:
        """Seconds since this start."""
        return self._clock() - self._started

    def restore_queue(self, queue: ListingQueue, on_failure: Callable[[AsyncggError], None]) -> None:
        """Add what remains to be listed to `queue`."""
        self._writer.on_failure = on_failure
        self._writer.before_commit = self._save_counts
        names, waiting, counts, cores_token, core_list_pending = self._writer.run_now(_load_remaining)
        self._core_names.update(names)
        self.cores, self.associations = len(self._core_names), counts.associations
        if core_list_pending:
            queue.add(Listing(token=cores_token, loop_detector=PageLoopDetector(cores_token)))
        for number, name, token in waiting:
            queue.add(Listing(number, name, token, loop_detector=PageLoopDetector(token)))

    async def wait_for_capacity(self) -> None:
        """Wait while the disk cannot keep up."""
        await self._writer.wait_for_capacity()

    def record_core_page(self, cores: Sequence[CoreDevice], token: str) -> list[tuple[int, str]]:
        """Record a page of cores; the number and name of each new core."""
        new = [core for core in {core.name: core for core in cores}.values() if core.name not in self._core_names]
        self._core_names.update(core.name for core in new)
        first = self.cores + 1
        self.cores += len(new)
        self._writer.submit_nowait(partial(_save_cores, first, new, token))
        return [(number, core.name) for number, core in enumerate(new, first)]

    def record_device_page(self, core: int, devices: Sequence[ClientDevice], token: str) -> None:
        """Record a page of a core's client devices."""
        self.associations += len(devices)
        self._writer.submit_nowait(lambda store: store.record_page(core, devices, token))

    def record_invalid_names(self, number: int) -> None:
        """Count items with an invalid name."""
        self._writer.submit_nowait(lambda store: store.count_invalid_names(number))

    def restart_listing(self, core: int) -> None:
        """Restart the list of a core from its first page; 0: the list of cores."""
        self._writer.submit_nowait(
            (lambda store: store.restart_listing(core)) if core else (lambda store: store.put(cores_token=""))
        )

    def abandon_listing(self, core: int, state: CoreState, code: str, message: str) -> None:
        """Abandon the list of a core."""
        self._writer.submit_nowait(lambda store: store.abandon_listing(core, state, code, message))

    async def finish(self, done: bool, stop: StopReason) -> ScanResult:
        """Record the end of this start; with `done`, the end of the scan."""

        def record_end(store: SnapshotStore) -> tuple[SnapshotCounts, dict[str, float], int]:
            if done:
                store.create_index()
                store.put(finished=1, ended_at=f"{time.time():.3f}")
            self._save_counts(store)
            return store.counts(), _load_counts(store), store.page_count()

        counts, totals, pages = await self._writer.submit(record_end)
        state, reason = stop.state, stop.message
        if done:
            incomplete = counts.denied + counts.failed
            state, reason = (
                (RunState.PARTIAL, "some cores could not be listed") if incomplete else (RunState.COMPLETE, "")
            )
        return ScanResult(
            path=self._path,
            state=state,
            reason=reason,
            is_auth_error=stop.is_auth_error and not done,
            counts=counts,
            sent=int(totals["sent"]),
            minimum=pages,
            throttled=int(totals["throttled"]),
            retried=int(totals["retried"]),
            seconds=totals["seconds"],
        )

    def close(self) -> None:
        """Write what is queued and close the file. Blocking."""
        self._writer.close()

    def _save_counts(self, store: SnapshotStore) -> None:
        now = {name: int(self._previous_counts[name]) + int(getattr(self, name)) for name in _COUNTERS}
        store.put(**now, seconds=f"{self._previous_counts['seconds'] + self.seconds:.3f}")


def _load_counts(store: SnapshotStore) -> dict[str, float]:
    return {name: float(store.get(name, "0")) for name in (*_COUNTERS, "seconds")}


def _load_remaining(store: SnapshotStore) -> tuple[list[str], list[tuple[int, str, str]], SnapshotCounts, str, bool]:
    core_list_pending = store.get("cores_done") != "1"
    return (
        list(store.core_names()),
        store.unfinished_cores(),
        store.counts(),
        store.get("cores_token"),
        core_list_pending,
    )


def _save_cores(first: int, cores: Sequence[CoreDevice], token: str, store: SnapshotStore) -> None:
    store.add_cores(first, cores)
    store.put(cores_token=token, cores_done=int(not token), cores_pages=int(store.get("cores_pages", "0")) + 1)
