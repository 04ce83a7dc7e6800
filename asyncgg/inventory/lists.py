"""Rule: what a reply means for its list is decided here: a page is kept, another try is set, or the list ends.

A page that is had is posted together with the token of the next one, so that a killed sweep goes on there.
"""

from __future__ import annotations

from typing import Final, cast

from asyncgg.backoff import RetryPolicy
from asyncgg.classify import ReplyVerdict, code_and_message
from asyncgg.engine import StopReason
from asyncgg.engine.control import RunControl
from asyncgg.events import CoreScanFailed, InvalidNames
from asyncgg.inventory.agenda import Agenda, Listing
from asyncgg.inventory.books import Books
from asyncgg.inventory.values import CoreState
from asyncgg.model import ClientDevice, CoreDevice, ErrorResponse, NoResponse, RunState
from asyncgg.transport.reads import Page

__all__ = ["Lists"]

_ANEW: Final = 1
"""How often a list is read again from its beginning: its token is not accepted any more, or it turns in circles."""

Pages = Page[CoreDevice] | Page[ClientDevice]


class Lists:
    """The lists of one start. Raises `SnapshotWriteError` when the snapshot can no longer be written."""

    def __init__(self, agenda: Agenda, books: Books, control: RunControl, retry: RetryPolicy) -> None:
        self._agenda = agenda
        self._books = books
        self._control = control
        self._retry = retry

    def take(self, listing: Listing, page: Pages) -> None:
        """Keep a page; its list goes on or ends."""
        listing.attempts, listing.tried = 0, False
        if page.invalid_names:
            self._books.odd(len(page.invalid_names))
            self._control.emit(InvalidNames(listing.core, page.invalid_names))
        if page.next_token and not listing.chain.goes_on(_names(page), page.next_token):
            self._begin_anew(listing, "RepeatedPages", "the list turns in circles: a page or its token comes again")
            return
        listing.token = page.next_token
        listing.pages += 1
        if listing.of_cores:
            cores = cast("Page[CoreDevice]", page).items
            for number, name in self._books.cores_page(cores, page.next_token):
                self._agenda.add(Listing(number, name))
        else:
            self._books.devices_page(listing.number, cast("Page[ClientDevice]", page).items, page.next_token)
        if page.next_token:
            self._agenda.go_on(listing)
        else:
            self._agenda.end(listing)

    def settle(self, listing: Listing, verdict: ReplyVerdict, reply: ErrorResponse | NoResponse) -> None:
        """What becomes of a list whose page was not had."""
        code, message = code_and_message(reply)
        retry_after = reply.retry_after if isinstance(reply, ErrorResponse) else None
        match verdict:
            case ReplyVerdict.THROTTLED | ReplyVerdict.NOT_SENT:
                self._agenda.put_back(listing, self._retry.delay(1, retry_after))
            case ReplyVerdict.CREDENTIALS_EXPIRED | ReplyVerdict.CREDENTIALS_REJECTED:
                self._agenda.put_back(listing)
            case ReplyVerdict.TRANSIENT | ReplyVerdict.LOST:
                listing.attempts += 1
                if self._retry.exhausted(listing.attempts):
                    self._give_up(listing, CoreState.FAILED, code, message)
                else:
                    self._agenda.put_back(listing, self._retry.delay(listing.attempts, retry_after))
            case ReplyVerdict.CORE_MISSING:
                self._give_up(listing, CoreState.VANISHED, code, message)
            case ReplyVerdict.CORE_DENIED:
                self._give_up(listing, CoreState.DENIED, code, message)
            case ReplyVerdict.INVALID if listing.token:
                self._begin_anew(listing, code, message)  # its token is not accepted any more
            case _:
                self._give_up(listing, CoreState.FAILED, code, message)

    def _begin_anew(self, listing: Listing, code: str, message: str) -> None:
        if listing.anew >= _ANEW:
            self._give_up(listing, CoreState.FAILED, code, message)
            return
        listing.begin_anew()
        self._books.begin_anew(listing.number)
        self._agenda.put_back(listing)

    def _give_up(self, listing: Listing, state: CoreState, code: str, message: str) -> None:
        if listing.of_cores:
            # Nothing can stand in for it: without the list of cores nobody knows what is missing.
            denied = state is CoreState.DENIED
            advice = "; grant greengrass:ListCoreDevices" if denied else ""
            reason = f"the core devices cannot be listed: {code}: {message}{advice}"
            self._control.request_stop(StopReason(RunState.ABORTED, reason, is_auth_error=denied))
            return
        self._books.end(listing.number, state, code, message)
        self._agenda.end(listing)
        self._control.emit(CoreScanFailed(listing.core, state.name.lower(), code, message))


def _names(page: Pages) -> list[str]:
    return [item.name if isinstance(item, CoreDevice) else item.thing for item in page.items]
