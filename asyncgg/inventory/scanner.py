"""The fleet scan: lists core devices and their client devices through one lane into a snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from asyncgg.classify import COUNTED, ReplyVerdict
from asyncgg.engine import AbortRules, Lane, StopReason, WorkSession
from asyncgg.engine.denial import DenialRule
from asyncgg.engine.outage import AMBIGUOUS
from asyncgg.engine.replies import RequestLabel, describe_failure
from asyncgg.engine.session import Attempt, SessionPhase
from asyncgg.errors import AsyncggError
from asyncgg.events import Listener, PageFailed, ScanEnded
from asyncgg.inventory.models import CoreState, Origin, ScanProgress, ScanResult
from asyncgg.inventory.paginator import PageHandler
from asyncgg.inventory.queue import Listing, ListingQueue
from asyncgg.inventory.scan_state import ScanState
from asyncgg.inventory.scope import MAX_SCAN_AGE, ScanScope
from asyncgg.models import ClientDevice, CoreDevice, ErrorResponse, NoResponse, RunState
from asyncgg.retry_policy import RetryPolicy
from asyncgg.transport.base import CoreFilter, ListingTransport, Page

_LIST_CORES: Final = "ListCoreDevices"
_LIST_DEVICES: Final = "ListClientDevicesAssociatedWithCoreDevice"
ListPage = Page[CoreDevice] | Page[ClientDevice]


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """The options of a scan; times in seconds."""

    concurrency: int = 64
    """Maximum requests in flight."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    stall_timeout: float = 300.0
    """Time without an accepted request after which a throttled or unanswered scan stops."""
    deadline: float | None = None
    continue_when_denied: bool = False
    """Whether denied cores count as such at once, also if every core is denied."""
    max_age: float = MAX_SCAN_AGE
    """Maximum age of an unfinished scan that is resumed."""


class FleetScan:
    """Requests the listings that `scan_state` has not completed. An instance runs once.

    `transport` should be the transport of `lane`, so that they share credentials.
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
        self._session = WorkSession(lane, listeners, options.deadline)
        self._changed = asyncio.Event()
        self._session.on_change = self._changed.set
        self._queue = ListingQueue(self._changed.set)
        self._page_handler = PageHandler(self._queue, scan_state, self._session, options.retry)
        self._abort_rules = {of_cores: AbortRules(stall_timeout=options.stall_timeout) for of_cores in (True, False)}
        self._denials = DenialRule[tuple[Listing, ErrorResponse]](
            "grant greengrass:ListClientDevicesAssociatedWithCoreDevice, then scan again",
            disabled=options.continue_when_denied,
        )
        self._in_flight = 0
        scan_state.restore_queue(self._queue, self._session.fail)
        self._queue.spread()

    async def run(self) -> ScanResult:
        """Scan until everything is listed or an abort rule, the deadline or `stop` ends it.

        Raises `SnapshotWriteError` if the snapshot can no longer be written, and what a listener raises.
        """
        async with self._session.run(self._dispatch_loop()):
            pass
        result = await self._finish()
        self._session.emit(ScanEnded(result.state, result.reason))
        return result

    def stop(self, reason: StopReason) -> None:
        """Send no further requests and let those in flight end. The first reason is kept."""
        self._session.stop(reason)

    def progress(self) -> ScanProgress:
        """The progress of the scan."""
        scan_state, queue = self._scan_state, self._queue
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
            status=self._session.status,
        )

    async def _dispatch_loop(self) -> None:
        """Take a token, then choose the listing, so that new listings are considered."""
        while self._session.phase is not SessionPhase.CLOSED:
            await self._scan_state.wait_for_capacity()
            while not (self._queue.ready and self._session.can_send and self._in_flight < self._options.concurrency):
                if not self._queue.unfinished:
                    return
                self._changed.clear()
                await self._changed.wait()
            if not self._lane.try_acquire():
                await self._lane.acquire()
            self._session.start_request()
            self._in_flight += 1
            self._session.group.create_task(self._request_page(self._queue.take()))

    async def _request_page(self, listing: Listing) -> None:
        def failed(verdict: ReplyVerdict, code: str, message: str) -> PageFailed | None:
            if verdict in {ReplyVerdict.CORE_MISSING, ReplyVerdict.CORE_DENIED}:
                return None  # reported as `CoreScanFailed`
            attempt = 1 + listing.attempts if verdict in COUNTED else 0
            return PageFailed(listing.core, code, message, attempt, self._options.retry.max_attempts)

        self._scan_state.sent += 1
        self._scan_state.retried += listing.is_retry
        listing.is_retry = True
        try:
            rules = self._abort_rules[listing.is_core_list]
            attempt: Attempt[ListPage] = await self._session.request(
                self._fetch_page(listing),
                listing.core,
                (),
                rules,
                failed,
                listing.failing_since,
                RequestLabel(_LIST_CORES if listing.is_core_list else _LIST_DEVICES, (listing.attempts,)),
            )
        finally:
            self._in_flight -= 1
            self._changed.set()
        self._scan_state.throttled += attempt.verdict is ReplyVerdict.THROTTLED
        try:
            self._handle_reply(listing, attempt)
        except AsyncggError as error:  # the snapshot cannot be written
            self._session.fail(error)
        await self._session.refresh(attempt)

    def _handle_reply(self, listing: Listing, attempt: Attempt[ListPage]) -> None:
        reply, is_core_list = attempt.reply, listing.is_core_list
        if isinstance(reply, ErrorResponse | NoResponse):
            is_denied = attempt.verdict is ReplyVerdict.CORE_DENIED and not is_core_list
            if is_denied and isinstance(reply, ErrorResponse) and not self._denials.disabled:
                self._hold_denied(listing, reply, attempt.started)
                return
            if attempt.verdict in AMBIGUOUS and listing.failing_since is None:
                listing.failing_since = attempt.started
            self._page_handler.handle_failure(
                listing, attempt.verdict, reply, attempt.started, particular=attempt.particular
            )
            return
        self._page_handler.handle_page(listing, reply)
        if not is_core_list:
            self._abandon_denied(self._denials.record_accepted(listing.core, attempt.started))
        elif not self._queue.core_list_pending:
            self._queue.spread()
            self._denials.restart_row(asyncio.get_running_loop().time())

    def _hold_denied(self, listing: Listing, reply: ErrorResponse, started: float) -> None:
        """Request nothing more of a denied core, which waits in the snapshot until it is decided."""
        stop = self._denials.record_denied(
            listing.core,
            started,
            (listing, reply),
            describe_failure(reply),
            was_accepted=bool(listing.token),
            can_stop=not self._queue.core_list_pending,
        )
        self._queue.end(listing)
        self._session.stop(stop)

    def _abandon_denied(self, denied: Iterable[tuple[Listing, ErrorResponse]]) -> None:
        for listing, reply in denied:
            self._page_handler.record_incomplete(listing, CoreState.DENIED, reply.code, reply.message)

    async def _fetch_page(self, listing: Listing) -> ListPage | ErrorResponse | NoResponse:
        if listing.is_core_list:
            return await self._transport.list_cores(listing.token, self._filters)
        return await self._transport.list_client_devices(listing.core, listing.token)

    async def _finish(self) -> ScanResult:
        if self._session.failure is not None:
            raise self._session.failure
        denied = None if self._queue.unfinished else self._denials.check_at_end()
        self._session.stop(denied)
        stop = self._session.stop_reason
        done = not self._queue.unfinished and denied is None and not (stop and stop.is_auth_error)
        if done:
            self._abandon_denied(self._denials.take_held())
        return await self._scan_state.finish(done, stop or StopReason(RunState.COMPLETE, ""))


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
    """Write the client devices of the cores that match `filters`, or of `cores`, to `path`.

    An unfinished scan with the same `origin`, filters and cores is resumed. `on_scan` receives the
    scan before its first request. `threaded=False` writes the file on the event loop, for virtual
    clocks. Cancelling leaves the scan resumable.

    Raises:
        UsageError: `cores` has an invalid name, or both `filters` and `cores` are given.
        SnapshotError: the file cannot be used for this scan.
        SnapshotWriteError: the file can no longer be written; the scan is resumable.
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
