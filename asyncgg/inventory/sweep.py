"""Rule: a sweep asks for the pages of all lists through one lane; it decides nothing about a list (see `lists`).

Every attempt takes a token of the lane, and what a reply means for the lane is the same as in a run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from asyncgg.backoff import RetryPolicy
from asyncgg.classify import ReplyVerdict, classify, code_and_message
from asyncgg.engine import AbortRules, Lane, StopReason
from asyncgg.engine.control import RunControl
from asyncgg.engine.replies import describe_failure, sanitize_reply
from asyncgg.errors import AsyncggError, CredentialsError
from asyncgg.events import Listener, PageFailed
from asyncgg.inventory.agenda import Agenda, Listing
from asyncgg.inventory.books import Books
from asyncgg.inventory.lists import Lists
from asyncgg.inventory.opening import LONGEST_SWEEP, Scope
from asyncgg.inventory.values import Origin, SweepProgress, Swept
from asyncgg.model import ClientDevice, CoreDevice, ErrorResponse, NoResponse, RunState
from asyncgg.transport.reads import CoreFilter, ListingTransport, Page

__all__ = ["Sweep", "SweepOptions", "sweep"]

_ALONE: Final = 1.0
"""Seconds that the first request goes alone: it finds wrong credentials before others do."""

_PERMISSION: Final = "greengrass:ListClientDevicesAssociatedWithCoreDevice"

Answer = Page[CoreDevice] | Page[ClientDevice] | ErrorResponse | NoResponse


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """How a sweep is to behave; times in seconds."""

    concurrency: int = 64
    """Requests in flight at most."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    patience: float = 300.0
    """Without an accepted request before a throttled or unanswered sweep stops itself."""
    deadline: float | None = None
    max_age: float = LONGEST_SWEEP
    """Since the sweep was begun; an unfinished one that is older is refused."""


class Sweep:
    """Asks for what `books` say is left to be listed. One object, one start; made inside a running loop.

    `reads` and the lane's transport should be the same object: then a refresh of the lane's credentials is one of the
    reads'.
    """

    def __init__(
        self,
        books: Books,
        lane: Lane,
        reads: ListingTransport,
        filters: CoreFilter,
        options: SweepOptions,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self._books = books
        self._lane = lane
        self._reads = reads
        self._filters = filters
        self._options = options
        self._clock = asyncio.get_running_loop().time
        self._control = RunControl(listeners)
        self._news = asyncio.Event()
        self._agenda = Agenda(self._news.set)
        self._lists = Lists(self._agenda, books, self._control, options.retry)
        self._guards = {of_cores: AbortRules(stall_timeout=options.patience) for of_cores in (True, False)}
        self._feeder: asyncio.Task[None] | None = None
        self._alone = True
        self._in_flight = 0
        self._last_words = ""
        self._control.on_stop.append(self._stop_feeding)
        books.begin(self._agenda, self._control.fail)

    # --- from outside ---

    async def run(self) -> Swept:
        """Sweep; returns when everything is listed, or when a guard, the deadline or `stop` ended it.

        Raises `SnapshotWriteError` when the snapshot can no longer be written, and what a listener raises.
        """
        loop = asyncio.get_running_loop()
        timers = [loop.call_later(_ALONE, self._no_more_alone)]
        if self._options.deadline is not None:
            late = StopReason(RunState.DEADLINE, "the deadline came")
            timers.append(loop.call_later(self._options.deadline, self.stop, late))
        emit, self._lane.emit = self._lane.emit, self._control.emit
        try:
            await self._work()
            return await self._finish()
        finally:
            self._lane.emit = emit
            for timer in timers:
                timer.cancel()

    def stop(self, stop: StopReason) -> None:
        """Ask for nothing new, let what is in flight end; the first reason given counts."""
        self._control.request_stop(stop)

    def progress(self) -> SweepProgress:
        """How the sweep stands now."""
        books, agenda, note = self._books, self._agenda, self._lane.status
        if self._control.stop_reason is not None:
            note = f"stopping: {self._control.stop_reason.message}"
        return SweepProgress(
            cores=books.cores,
            finished=books.cores - agenda.unfinished + agenda.cores_left,
            associations=books.associations,
            sent=books.sent,
            throttled=books.throttled,
            retried=books.retried,
            in_flight=self._in_flight,
            left=agenda.requests_left(),
            open_ended=agenda.cores_left,
            rate=self._lane.bucket.rate,
            ceiling=self._lane.ceiling,
            seconds=books.seconds,
            note=note,
        )

    # --- the sweep ---

    async def _work(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._feeder = group.create_task(self._feed(group), name="asyncgg-sweep")
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the first is the cause, the others its consequence

    async def _feed(self, group: asyncio.TaskGroup) -> None:
        """Take a token for each page, then choose the list: what has come meanwhile is chosen from too."""
        while not self._control.is_stopping:
            await self._books.room()
            while not (self._agenda.ready and self._in_flight < (1 if self._alone else self._options.concurrency)):
                if not self._agenda.unfinished:
                    return
                self._news.clear()
                await self._news.wait()
            if not self._lane.try_acquire():
                await self._lane.acquire()
            self._in_flight += 1
            group.create_task(self._ask(self._agenda.take()))

    async def _ask(self, listing: Listing) -> None:
        started, credentials = self._clock(), self._lane.credential_generation
        self._books.sent += 1
        self._books.retried += listing.tried
        listing.tried = True
        try:
            found, verdict = await self._page_of(listing)
        finally:
            self._in_flight -= 1
            self._no_more_alone()
        try:
            self._heed(verdict, found, listing, started)
            if isinstance(found, Page):
                self._lists.take(listing, found)
            else:
                self._lists.settle(listing, verdict, found)
        except AsyncggError as error:  # the snapshot cannot be written
            self._control.fail(error)
        if verdict is ReplyVerdict.CREDENTIALS_EXPIRED:
            await self._refresh(credentials)

    async def _page_of(self, listing: Listing) -> tuple[Answer, ReplyVerdict]:
        try:
            if listing.of_cores:
                found: Answer = await self._reads.list_cores(listing.token, self._filters)
            else:
                found = await self._reads.list_client_devices(listing.core, listing.token)
        except CredentialsError as error:
            return NoResponse("credentials", str(error), sent=False), ReplyVerdict.CREDENTIALS_EXPIRED
        if isinstance(found, Page):
            return found, ReplyVerdict.ACCEPTED
        kept = sanitize_reply(found)
        assert isinstance(kept, ErrorResponse | NoResponse)
        return kept, classify(kept, listing.core, ())

    def _heed(self, verdict: ReplyVerdict, found: Answer, listing: Listing, started: float) -> None:
        """What one reply means for the lane and the guards."""
        said = "" if isinstance(found, Page) else describe_failure(found)
        self._last_words = said or self._last_words
        self._books.throttled += verdict is ReplyVerdict.THROTTLED
        retry_after = found.retry_after if isinstance(found, ErrorResponse) else None
        if stop := self._lane.handle_reply(verdict, listing.core, started, said, retry_after):
            self.stop(stop)
        if not isinstance(found, Page) and verdict not in {ReplyVerdict.THROTTLED, ReplyVerdict.CORE_MISSING}:
            self._control.emit(PageFailed(listing.core, *code_and_message(found)))
        if stop := self._guards[listing.of_cores].record_reply(verdict, listing.core, said, self._clock()):
            self.stop(self._denied(stop, said))

    def _denied(self, stop: StopReason, said: str) -> StopReason:
        """A guard's reason in the words of a sweep."""
        if not stop.is_auth_error:
            return stop
        reason = f"every core is denied: {said}; grant {_PERMISSION}, then sweep again"
        return StopReason(stop.state, reason, is_auth_error=True)

    # --- around it ---

    async def _finish(self) -> Swept:
        if self._control.failure is not None:
            raise self._control.failure
        if stop := self._guards[False].check_at_end(self._last_words):
            self.stop(self._denied(stop, self._last_words))
        stop = self._control.stop_reason
        done = not self._agenda.unfinished and not (stop and stop.is_auth_error)
        return await self._books.finish(done, stop or StopReason(RunState.COMPLETE, ""))

    async def _refresh(self, used: int) -> None:
        try:
            await self._lane.refresh(used)
        except CredentialsError as error:
            self.stop(StopReason(RunState.ABORTED, str(error), is_auth_error=True))

    def _no_more_alone(self) -> None:
        self._alone = False
        self._news.set()

    def _stop_feeding(self) -> None:
        if self._feeder is not None:
            self._feeder.cancel()


async def sweep(
    path: Path,
    lane: Lane,
    reads: ListingTransport,
    *,
    origin: Origin | None = None,
    filters: CoreFilter | None = None,
    cores: Sequence[str] | None = None,
    options: SweepOptions | None = None,
    listeners: Sequence[Listener] = (),
    on_sweep: Callable[[Sweep], object] | None = None,
    threaded: bool = True,
) -> Swept:
    """List the client devices of all cores that `filters` leave, or just of `cores`, into the snapshot at `path`.

    An unfinished sweep of the same `origin`, filters and cores that is there is gone on with, anything else is refused.
    `on_sweep` gets the sweep before its first request, to stop it or to watch it. `threaded=False` writes the file on
    the event loop: for virtual clocks. Cancelling leaves the sweep resumable.

    Raises:
        UsageError: a name in `cores` that is none; `filters` beside `cores`.
        SnapshotError: the file cannot be used for this sweep.
        SnapshotWriteError: it can no longer be written; what was written is resumable.
    """
    scope = Scope.of(origin or Origin(), filters, cores)
    options = options or SweepOptions()
    books = Books(path, scope, options.max_age, threaded=threaded)
    try:
        begun = Sweep(books, lane, reads, scope.filters, options, listeners)
        if on_sweep is not None:
            on_sweep(begun)
        return await begun.run()
    finally:
        books.close()
