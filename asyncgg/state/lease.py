"""The lease of a state: one process at a time may run it, on whatever host."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from asyncgg.errors import AsyncggError, LeaseHeldError, LeaseLostError, SettingsError, UsageError
from asyncgg.formatting import format_duration
from asyncgg.state.document import LeaseHolder, StateDocument
from asyncgg.state.store import StateStore, StoredDocument, VersionConflictError

_AGE_ERROR: Final = 2.0
"""Seconds by which the age of a document can be wrong: S3 gives times in whole seconds."""
_POLL_INTERVAL: Final = 1.0
_MAX_CONFLICTS: Final = 10
_RENEWALS: Final = 3
"""Renewals within the time for which a lease allows to send."""
_DEFAULT_MARGIN: Final = 30.0
"""Seconds of the lease, in addition to the request timeout, for which renewals may fail."""
_MIN_MARGIN: Final = 1.0


def lease_seconds(requested: float | None, request_timeout: float) -> float:
    """The seconds of a lease for requests with this timeout. Raises `SettingsError` if `requested` is too short."""
    seconds = requested or request_timeout + _DEFAULT_MARGIN
    if seconds < request_timeout + _MIN_MARGIN:
        raise SettingsError(
            f"--state-lease: {seconds:g} s is too short; it must be at least {_MIN_MARGIN:g} s longer than the"
            f" request timeout, {request_timeout:g} s"
        )
    return seconds


def _boot_time() -> float:
    # The clock of event loops stands still while a machine is suspended; the lease does not.
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


# Expiry is decided without comparing the clocks of two hosts. The holder measures from before it sent
# the renewal, by its own clock; others measure the age of the document by the clock of the store. Both
# err on the safe side.
class Lease:
    """The right to run the state of `store`, and its current document.

    It is valid for `seconds` after each renewal. Requests may be sent only in the first part of that
    time, `request_timeout` less, so that none is in flight when another process takes the lease over.
    Once this time has passed without a renewal, the holder may never send again.
    """

    def __init__(
        self, store: StateStore, seconds: float, request_timeout: float, clock: Callable[[], float] = _boot_time
    ) -> None:
        self.document = StateDocument()
        self.lost_reason = ""
        """Why nothing may be sent any more; empty while the lease is held."""
        self._store = store
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._seconds = seconds
        self._sending_time = seconds - request_timeout
        self._clock = clock
        self._renewed_at = clock()
        self._version: str | None = None
        self._publishing = asyncio.Lock()

    @property
    def id(self) -> str:
        """Unique to this holder, for names of files."""
        return self._owner.rpartition(":")[2]

    @property
    def renewal_interval(self) -> float:
        """Seconds between renewals."""
        return self._sending_time / _RENEWALS

    def may_send(self) -> bool:
        """Whether a request may be sent now; can be called from every thread."""
        if not self.lost_reason and self._clock() >= self._renewed_at + self._sending_time:
            self.lost_reason = f"the lease of {self._store.location} could not be renewed in time"
        return not self.lost_reason

    async def acquire(self, on_wait: Callable[[str], object]) -> None:
        """Take the lease; waits until that of a dead holder has expired.

        `on_wait` gets one line before the wait. Raises `LeaseHeldError` if the holder is alive, `UsageError`
        if the store ignores the conditions of writes.
        """
        watched: StoredDocument | None = None
        conflicts = 0
        while True:
            stored = await self._store.read_document()
            self._version = None if stored is None else stored.version
            self.document = document = self._parse(stored)
            if stored is None or self._is_available(document, stored.age):
                try:
                    await self.publish(document)
                except VersionConflictError:  # another process was faster
                    conflicts += 1
                    if conflicts == _MAX_CONFLICTS:
                        raise
                    await asyncio.sleep(_POLL_INTERVAL)
                    continue
                break
            assert document.holder is not None
            holder = document.holder.owner
            if watched is not None and watched.version != stored.version:
                raise LeaseHeldError(
                    f"{self._store.location} is in use by another process ({holder}); nothing was sent; wait until it"
                    " has ended, or stop it"
                )
            if watched is None:
                seconds = format_duration(max(0.0, document.holder.seconds + _AGE_ERROR - stored.age))
                on_wait(f"{self._store.location} is leased to {holder}; waiting for a sign of it, at most {seconds}")
                watched = stored
            await asyncio.sleep(_POLL_INTERVAL)
        await self._require_conditions()

    async def publish(self, document: StateDocument) -> None:
        """Replace the document, which renews the lease.

        Raises `LeaseLostError` if another process has taken the lease, and what the store raises.
        """
        async with self._publishing:
            await self._publish(document)

    async def release(self) -> None:
        """Let others take the lease, unless it is lost; if this fails, they wait until it has expired."""
        async with self._publishing:
            if self._is_owner(self.document):
                with contextlib.suppress(AsyncggError):
                    await self._publish(self.document, release=True)

    async def renew(self) -> None:
        """Publish the current document again."""
        async with self._publishing:
            await self._publish(self.document)

    async def _publish(self, document: StateDocument, *, release: bool = False) -> None:
        started, had_lease = self._clock(), self._is_owner(self.document)
        if had_lease:
            self.may_send()  # a lease that has run out stays lost, also if no other process took it
        expires_at = time.time() + self._seconds
        holder = None if release else LeaseHolder(self._owner, self._seconds, expires_at)
        document = replace(document, holder=holder)
        data = document.to_json()
        try:
            self._version = await self._store.replace_document(data, self._version)
        except VersionConflictError:
            if not had_lease:
                raise
            # Unless another process has the lease, the reply to an earlier attempt was lost.
            stored = await self._store.read_document()
            if stored is None or not self._is_owner(self._parse(stored)):
                self.lost_reason = f"another process has taken the lease of {self._store.location}"
                raise LeaseLostError(f"{self.lost_reason}; what was not saved is sent again there") from None
            self._version = await self._store.replace_document(data, stored.version)
        self.document, self._renewed_at = document, started

    async def keep_renewed(self, on_lost: Callable[[str], object]) -> None:
        """Renew until cancelled; returns after `on_lost` when the lease is lost."""
        pause, cause = self.renewal_interval, ""
        while True:
            await asyncio.sleep(pause)
            try:
                async with asyncio.timeout(max(0.0, self._renewed_at + self._sending_time - self._clock())):
                    await self.renew()
                pause, cause = self.renewal_interval, ""
            except TimeoutError:
                cause = cause or ": no answer"
            except AsyncggError as error:
                pause, cause = min(_POLL_INTERVAL, self.renewal_interval), f": {error}"
            if not self.may_send():
                on_lost(self.lost_reason + cause)
                return

    def _is_available(self, document: StateDocument, age: float) -> bool:
        # This process can be the holder: the reply to its first attempt was lost.
        return document.holder is None or age > document.holder.seconds + _AGE_ERROR or self._is_owner(document)

    def _is_owner(self, document: StateDocument) -> bool:
        return document.holder is not None and document.holder.owner == self._owner

    def _parse(self, stored: StoredDocument | None) -> StateDocument:
        return StateDocument() if stored is None else StateDocument.parse(stored.data, self._store.location)

    async def _require_conditions(self) -> None:
        try:
            await self._store.replace_document(self.document.to_json(), None)
        except VersionConflictError:
            return
        raise UsageError(
            f"{self._store.location}: the store ignores the condition If-None-Match, which the lease needs; use another"
        )
