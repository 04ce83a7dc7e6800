"""What a reply means for its list: record a page, retry, restart or end the list."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from asyncgg.aggregator import BLOCKED_RETRY
from asyncgg.classify import ReplyVerdict, code_and_message
from asyncgg.engine import StopReason, WorkSession
from asyncgg.events import CoreScanFailed, InvalidNames
from asyncgg.inventory.models import CoreState
from asyncgg.inventory.queue import Listing, ListingQueue
from asyncgg.inventory.scan_state import ScanState
from asyncgg.models import ClientDevice, CoreDevice, ErrorResponse, NoResponse, RunState
from asyncgg.retry_policy import RetryPolicy
from asyncgg.transport.base import Page

_MAX_RESTARTS: Final = 1
"""Restarts of a list from its first page: its token is no longer accepted, or its pages repeat."""

ListPage = Page[CoreDevice] | Page[ClientDevice]


class PageHandler:
    """The lists of one start. Raises `SnapshotWriteError` when the snapshot cannot be written."""

    def __init__(self, queue: ListingQueue, scan_state: ScanState, session: WorkSession, retry: RetryPolicy) -> None:
        self._queue = queue
        self._scan_state = scan_state
        self._session = session
        self._retry = retry

    def handle_page(self, listing: Listing, page: ListPage) -> None:
        """Record a page; its list continues or ends."""
        listing.attempts, listing.is_retry, listing.failing_since = 0, False, None
        listing.throttles = 0
        if page.invalid_names:
            self._scan_state.record_invalid_names(len(page.invalid_names))
            self._session.emit(InvalidNames(listing.core, page.invalid_names))
        if page.next_token and not listing.loop_detector.accept(_names(page), page.next_token):
            self._restart(listing, "RepeatedPages", "the service returned a page or its token twice")
            return
        listing.token = page.next_token
        listing.pages += 1
        if listing.is_core_list:
            cores = cast("Page[CoreDevice]", page).items
            for number, name in self._scan_state.record_core_page(cores, page.next_token):
                self._queue.add(Listing(number, name))
        else:
            self._scan_state.record_device_page(listing.number, cast("Page[ClientDevice]", page).items, page.next_token)
        if page.next_token:
            self._queue.requeue_next_page(listing)
        else:
            self._queue.end(listing)

    def handle_failure(
        self,
        listing: Listing,
        verdict: ReplyVerdict,
        reply: ErrorResponse | NoResponse,
        started: float,
        *,
        particular: bool,
    ) -> None:
        """Retry, restart or abandon a list whose page, requested at `started`, was not received.

        `particular`: other requests were answered meanwhile. In an outage a failure is no attempt.
        """
        code, message = code_and_message(reply)
        retry_after = reply.retry_after if isinstance(reply, ErrorResponse) else None
        if verdict is not ReplyVerdict.THROTTLED:
            listing.throttles = 0
        match verdict:
            case ReplyVerdict.THROTTLED:
                listing.throttles += 1
                round_trip = asyncio.get_running_loop().time() - started
                self._queue.requeue(listing, self._retry.throttle_delay(round_trip, listing.throttles, retry_after))
            case ReplyVerdict.NOT_SENT:
                self._queue.requeue(listing, self._retry.delay(1, retry_after))
            case ReplyVerdict.CREDENTIALS_EXPIRED | ReplyVerdict.CREDENTIALS_REJECTED:
                self._queue.requeue(listing)
            case ReplyVerdict.TRANSIENT | ReplyVerdict.LOST:
                listing.attempts += particular
                if self._retry.exhausted(listing.attempts):
                    self._abandon(listing, CoreState.FAILED, code, message)
                else:
                    self._queue.requeue(listing, self._retry.delay(listing.attempts, retry_after))
            case ReplyVerdict.FOREIGN:
                self._queue.requeue(listing, self._retry.delay(BLOCKED_RETRY if particular else 1))
            case ReplyVerdict.CORE_MISSING:
                self._abandon(listing, CoreState.VANISHED, code, message)
            case ReplyVerdict.CORE_DENIED:
                self._abandon(listing, CoreState.DENIED, code, message)
            case ReplyVerdict.INVALID if listing.token:
                self._restart(listing, code, message)  # its token is no longer accepted
            case _:
                self._abandon(listing, CoreState.FAILED, code, message)

    def _restart(self, listing: Listing, code: str, message: str) -> None:
        if listing.restarts >= _MAX_RESTARTS:
            self._abandon(listing, CoreState.FAILED, code, message)
            return
        listing.restart()
        self._scan_state.restart_listing(listing.number)
        self._queue.requeue(listing)

    def _abandon(self, listing: Listing, state: CoreState, code: str, message: str) -> None:
        if listing.is_core_list:
            # Without the list of cores it is unknown what is missing.
            denied = state is CoreState.DENIED
            advice = "; grant greengrass:ListCoreDevices" if denied else ""
            reason = f"cannot list the core devices: {code}: {message}{advice}"
            self._session.stop(StopReason(RunState.ABORTED, reason, is_auth_error=denied))
            return
        self._queue.end(listing)
        self.record_incomplete(listing, state, code, message)

    def record_incomplete(self, listing: Listing, state: CoreState, code: str, message: str) -> None:
        """Record that the list of a core ended incomplete."""
        self._scan_state.abandon_listing(listing.number, state, code, message)
        self._session.emit(CoreScanFailed(listing.core, state.name.lower(), code, message))


def _names(page: ListPage) -> list[str]:
    return [item.name if isinstance(item, CoreDevice) else item.thing for item in page.items]
