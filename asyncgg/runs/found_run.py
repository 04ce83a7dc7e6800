"""Rule: a whole run of what things or cores alone stand for lives here, for programs: swept, looked up and run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from asyncgg.errors import CredentialsError, SnapshotError
from asyncgg.events import Listener
from asyncgg.inventory import MAX_SCAN_AGE
from asyncgg.model import Summary
from asyncgg.runs.discovery import Search, Wanted, finished_origin, prepare_found
from asyncgg.runs.execute import connection_of
from asyncgg.runs.guarded import confirm_account
from asyncgg.runs.library import run_prepared
from asyncgg.runs.prepare import Preparation, default_journal
from asyncgg.runs.sweeping import take_inventory
from asyncgg.settings import Settings, build_settings
from asyncgg.transport import Endpoint, Transport, resolve_endpoint

__all__ = ["disassociate_cores", "disassociate_things"]


async def disassociate_things(
    things: Iterable[str],
    *,
    inventory: str | Path,
    max_age: float = MAX_SCAN_AGE,
    allow_unlisted: bool = False,
    settings: Settings | None = None,
    transport: Transport | None = None,
    listeners: Sequence[Listener] = (),
    **keywords: Any,
) -> Summary:
    """Disassociate these things from whichever cores hold them, and return the summary.

    They are looked up in the snapshot `inventory`. One that is missing or unfinished is swept first and kept; one that
    is there must be of the same fleet, and begun no longer than `max_age` seconds ago. `allow_unlisted`: go on though
    some cores were denied or failed in the sweep. `transport` replaces AWS for the run, not for a sweep. Other keywords
    are settings.

    Raises:
        SnapshotError: the snapshot cannot be used, or its sweep was not over; then the same call goes on with it.
        UsageError, GuardError, JournalError: as of `prepare_found`.
        CredentialsError: there are none, or they do not allow listing.
    """
    search = Search(Wanted.of("thing", things, "things"), Path(inventory), max_age, allow_unlisted)
    return await _run(search, settings or build_settings({}, keywords), transport, listeners)


async def disassociate_cores(
    cores: Iterable[str],
    *,
    inventory: str | Path,
    max_age: float = MAX_SCAN_AGE,
    allow_unlisted: bool = False,
    settings: Settings | None = None,
    transport: Transport | None = None,
    listeners: Sequence[Listener] = (),
    **keywords: Any,
) -> Summary:
    """Disassociate all client devices of these cores, and return the summary.

    Keywords and errors as for `disassociate_things`; a sweep lists just these cores.
    """
    search = Search(Wanted.of("core", cores, "cores"), Path(inventory), max_age, allow_unlisted)
    return await _run(search, settings or build_settings({}, keywords), transport, listeners)


async def _run(
    search: Search, settings: Settings, transport: Transport | None, listeners: Sequence[Listener]
) -> Summary:
    preparation = await _prepared(search, settings, transport is None)
    return await run_prepared(preparation, transport, listeners)


async def _prepared(search: Search, settings: Settings, at_aws: bool) -> Preparation:
    target = await asyncio.to_thread(resolve_endpoint, connection_of(settings)) if at_aws else None
    origin = await asyncio.to_thread(finished_origin, search.inventory)
    account = ""
    if target is not None:
        account = await _asked(search, settings, target, sweep=origin is None)
    path = settings.journal or default_journal()
    preparation, _ = await asyncio.to_thread(
        prepare_found, search, path, settings, target, swept=origin is None, account=account
    )
    return preparation


async def _asked(search: Search, settings: Settings, target: Endpoint, *, sweep: bool) -> str:
    """The account, empty when it is not known; after a sweep, where one is needed."""
    found, _ = await confirm_account(connection_of(settings), target, settings)
    if sweep:
        cores = search.wanted.names if search.wanted.kind == "core" else None
        swept = await take_inventory(
            search.inventory, settings, target, account=found, cores=cores, max_age=search.max_age
        )
        if not swept.finished:
            kind = CredentialsError if swept.is_auth_error else SnapshotError
            raise kind(f"snapshot {search.inventory}: its sweep is not over ({swept.state}): {swept.reason}")
    return found.account if found else ""
