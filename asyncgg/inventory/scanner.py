"""Rule: a sweep asks for the pages of all lists through one lane; it decides nothing about a list (see `lists`).

Every attempt takes a token of the lane, and what a reply means for the lane is the same as in a run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from asyncgg.classify import ReplyVerdict, classify, code_and_message
from asyncgg.engine import AbortRules, Lane, StopReason
from asyncgg.engine.control import RunControl
from asyncgg.engine.replies import describe_failure, sanitize_reply
from asyncgg.errors import AsyncggError, CredentialsError
from asyncgg.events import Listener, PageFailed
from asyncgg.inventory.models import Origin, ScanProgress, ScanResult
from asyncgg.inventory.paginator import PageHandler
from asyncgg.inventory.queue import Listing, ListingQueue
from asyncgg.inventory.scan_state import ScanState
from asyncgg.inventory.scope import MAX_SCAN_AGE, ScanScope
from asyncgg.models import ClientDevice, CoreDevice, ErrorResponse, NoResponse, RunState
from asyncgg.retry_policy import RetryPolicy
from asyncgg.transport.base import CoreFilter, ListingTransport, Page

__all__ = ["FleetScan", "ScanOptions", "scan_fleet"]

_WARMUP_TIMEOUT: Final = 1.0
"""Seconds that the first request goes alone: it finds wrong credentials before others do."""

_PERMISSION: Final = "greengrass:ListClientDevicesAssociatedWithCoreDevice"

PageReply = Page[CoreDevice] | Page[ClientDevice] | ErrorResponse | NoResponse


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How a sweep is to behave; times in seconds."""

    concurrency: int = 64
    """Requests in flight at most."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    stall_timeout: float = 300.0
    """Without an accepted request before a throttled or unanswered sweep stops itself."""
    deadline: float | None = None
    max_age: float = MAX_SCAN_AGE
    """Since the sweep was begun; an unfinished one that is older is refused."""


class FleetScan:
    """Asks for what `scan_state` say is left to be listed. One object, one start; made inside a running loop.

    `transport` and the lane's transport should be the same object: then a refresh of the lane's credentials is one of the
    reads'.
    """

    def __init__(
        self,
        scan_state: ScanState,
        lane: Lane,
        transport: ListingTransport,
        filters: CoreFilter,
        options: ScanOptions,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self._scan_state = scan_state
        self._lane = lane
        self._transport = transport
        self._filters = filters
        self._options = options
        self._clock = asyncio.get_running_loop().time
        self._control = RunControl(listeners)
        self._changed = asyncio.Event()
        self._queue = ListingQueue(self._changed.set)
        self._page_handler = PageHandler(self._queue, scan_state, self._control, options.retry)
        self._abort_rules = {of_cores: AbortRules(stall_timeout=options.stall_timeout) for of_cores in (True, False)}
        self._dispatcher: asyncio.Task[None] | None = None
        self._warming_up = True
        self._in_flight = 0
        self._last_error = ""
        self._control.on_stop.append(self._cancel_dispatcher)
        scan_state.restore_queue(self._queue, self._control.fail)

    # --- from outside ---

    async def run(self) -> ScanResult:
        """Sweep; returns when everything is listed, or when a guard, the deadline or `stop` ended it.

        Raises `SnapshotWriteError` when the snapshot can no longer be written, and what a listener raises.
        """
        loop = asyncio.get_running_loop()
        timers = [loop.call_later(_WARMUP_TIMEOUT, self._end_warmup)]
        if self._options.deadline is not None:
            deadline_stop = StopReason(RunState.DEADLINE, "the deadline came")
            timers.append(loop.call_later(self._options.deadline, self.stop, deadline_stop))
        emit, self._lane.emit = self._lane.emit, self._control.emit
        try:
            await self._run_tasks()
            return await self._finish()
        finally:
            self._lane.emit = emit
            for timer in timers:
                timer.cancel()

    def stop(self, stop: StopReason) -> None:
        """Ask for nothing new, let what is in flight end; the first reason given counts."""
        self._control.request_stop(stop)

    def progress(self) -> ScanProgress:
        """How the sweep stands now."""
        scan_state, queue, status = self._scan_state, self._queue, self._lane.status
        if self._control.stop_reason is not None:
            status = f"stopping: {self._control.stop_reason.message}"
        return ScanProgress(
            cores=scan_state.cores,
            finished=scan_state.cores - queue.unfinished + queue.core_list_pending,
            associations=scan_state.associations,
            sent=scan_state.sent,
            throttled=scan_state.throttled,
            retried=scan_state.retried,
            in_flight=self._in_flight,
            requests_left=queue.requests_left(),
            open_ended=queue.core_list_pending,
            rate=self._lane.bucket.rate,
            ceiling=self._lane.ceiling,
            seconds=scan_state.seconds,
            status=status,
        )

    # --- the sweep ---

    async def _run_tasks(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._dispatcher = group.create_task(self._dispatch_loop(group), name="asyncgg-sweep")
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the first is the cause, the others its consequence

    async def _dispatch_loop(self, group: asyncio.TaskGroup) -> None:
        """Take a token for each page, then choose the list: what has come meanwhile is chosen from too."""
        while not self._control.is_stopping:
            await self._scan_state.wait_for_capacity()
            while not (self._queue.ready and self._in_flight < (1 if self._warming_up else self._options.concurrency)):
                if not self._queue.unfinished:
                    return
                self._changed.clear()
                await self._changed.wait()
            if not self._lane.try_acquire():
                await self._lane.acquire()
            self._in_flight += 1
            group.create_task(self._request_page(self._queue.take()))

    async def _request_page(self, listing: Listing) -> None:
        started, generation = self._clock(), self._lane.credential_generation
        self._scan_state.sent += 1
        self._scan_state.retried += listing.is_retry
        listing.is_retry = True
        try:
            reply, verdict = await self._fetch_page(listing)
        finally:
            self._in_flight -= 1
            self._end_warmup()
        try:
            self._handle_reply(verdict, reply, listing, started)
            if isinstance(reply, Page):
                self._page_handler.handle_page(listing, reply)
            else:
                self._page_handler.handle_failure(listing, verdict, reply)
        except AsyncggError as error:  # the snapshot cannot be written
            self._control.fail(error)
        if verdict is ReplyVerdict.CREDENTIALS_EXPIRED:
            await self._refresh(generation)

    async def _fetch_page(self, listing: Listing) -> tuple[PageReply, ReplyVerdict]:
        try:
            if listing.is_core_list:
                reply: PageReply = await self._transport.list_cores(listing.token, self._filters)
            else:
                reply = await self._transport.list_client_devices(listing.core, listing.token)
        except CredentialsError as error:
            return NoResponse("credentials", str(error), sent=False), ReplyVerdict.CREDENTIALS_EXPIRED
        if isinstance(reply, Page):
            return reply, ReplyVerdict.ACCEPTED
        sanitized = sanitize_reply(reply)
        assert isinstance(sanitized, ErrorResponse | NoResponse)
        return sanitized, classify(sanitized, listing.core, ())

    def _handle_reply(self, verdict: ReplyVerdict, reply: PageReply, listing: Listing, started: float) -> None:
        """What one reply means for the lane and the guards."""
        message = "" if isinstance(reply, Page) else describe_failure(reply)
        self._last_error = message or self._last_error
        self._scan_state.throttled += verdict is ReplyVerdict.THROTTLED
        retry_after = reply.retry_after if isinstance(reply, ErrorResponse) else None
        if stop := self._lane.handle_reply(verdict, listing.core, started, message, retry_after):
            self.stop(stop)
        if not isinstance(reply, Page) and verdict not in {ReplyVerdict.THROTTLED, ReplyVerdict.CORE_MISSING}:
            self._control.emit(PageFailed(listing.core, *code_and_message(reply)))
        if stop := self._abort_rules[listing.is_core_list].record_reply(verdict, listing.core, message, self._clock()):
            self.stop(self._scan_stop_reason(stop, message))

    def _scan_stop_reason(self, stop: StopReason, message: str) -> StopReason:
        """A guard's reason in the words of a sweep."""
        if not stop.is_auth_error:
            return stop
        reason = f"every core is denied: {message}; grant {_PERMISSION}, then sweep again"
        return StopReason(stop.state, reason, is_auth_error=True)

    # --- around it ---

    async def _finish(self) -> ScanResult:
        if self._control.failure is not None:
            raise self._control.failure
        if stop := self._abort_rules[False].check_at_end(self._last_error):
            self.stop(self._scan_stop_reason(stop, self._last_error))
        stop = self._control.stop_reason
        done = not self._queue.unfinished and not (stop and stop.is_auth_error)
        return await self._scan_state.finish(done, stop or StopReason(RunState.COMPLETE, ""))

    async def _refresh(self, generation: int) -> None:
        try:
            await self._lane.refresh(generation)
        except CredentialsError as error:
            self.stop(StopReason(RunState.ABORTED, str(error), is_auth_error=True))

    def _end_warmup(self) -> None:
        self._warming_up = False
        self._changed.set()

    def _cancel_dispatcher(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.cancel()


async def scan_fleet(
    path: Path,
    lane: Lane,
    transport: ListingTransport,
    *,
    origin: Origin | None = None,
    filters: CoreFilter | None = None,
    cores: Sequence[str] | None = None,
    options: ScanOptions | None = None,
    listeners: Sequence[Listener] = (),
    on_scan: Callable[[FleetScan], object] | None = None,
    threaded: bool = True,
) -> ScanResult:
    """List the client devices of all cores that `filters` leave, or just of `cores`, into the snapshot at `path`.

    An unfinished sweep of the same `origin`, filters and cores that is there is gone on with, anything else is refused.
    `on_scan` gets the sweep before its first request, to stop it or to watch it. `threaded=False` writes the file on
    the event loop: for virtual clocks. Cancelling leaves the sweep resumable.

    Raises:
        UsageError: a name in `cores` that is none; `filters` beside `cores`.
        SnapshotError: the file cannot be used for this sweep.
        SnapshotWriteError: it can no longer be written; what was written is resumable.
    """
    scope = ScanScope.of(origin or Origin(), filters, cores)
    options = options or ScanOptions()
    scan_state = ScanState(path, scope, options.max_age, threaded=threaded)
    try:
        scan = FleetScan(scan_state, lane, transport, scope.filters, options, listeners)
        if on_scan is not None:
            on_scan(scan)
        return await scan.run()
    finally:
        scan_state.close()
