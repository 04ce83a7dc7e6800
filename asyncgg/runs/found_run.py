"""Rule: a whole run of what things or cores alone stand for lives here, for programs: swept, looked up and run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from asyncgg.errors import CredentialsError, SnapshotError
from asyncgg.events import Listener
from asyncgg.inventory import MAX_SCAN_AGE
from asyncgg.models import Summary
from asyncgg.runs.account import verify_account
from asyncgg.runs.api import run_prepared
from asyncgg.runs.execute import connection_from_settings
from asyncgg.runs.lookup import LookupRequest, LookupTargets, origin_if_finished, prepare_from_snapshot
from asyncgg.runs.prepare import JournalBuilder, default_journal
from asyncgg.runs.scan import scan_with_settings
from asyncgg.settings import Settings, build_settings
from asyncgg.transport import Endpoint, Transport, resolve_endpoint

__all__ = ["disassociate_cores", "disassociate_things"]


async def disassociate_things(
    things: Iterable[str],
    *,
    inventory: str | Path,
    max_age: float = MAX_SCAN_AGE,
    allow_incomplete: bool = False,
    settings: Settings | None = None,
    transport: Transport | None = None,
    listeners: Sequence[Listener] = (),
    **keywords: Any,
) -> Summary:
    """Disassociate these things from whichever cores hold them, and return the summary.

    They are looked up in the snapshot `inventory`. One that is missing or unfinished is swept first and kept; one that
    is there must be of the same fleet, and begun no longer than `max_age` seconds ago. `allow_incomplete`: go on though
    some cores were denied or failed in the sweep. `transport` replaces AWS for the run, not for a sweep. Other keywords
    are settings.

    Raises:
        SnapshotError: the snapshot cannot be used, or its sweep was not over; then the same call goes on with it.
        UsageError, GuardError, JournalError: as of `prepare_from_snapshot`.
        CredentialsError: there are none, or they do not allow listing.
    """
    request = LookupRequest(
        LookupTargets.from_names("thing", things, "things"), Path(inventory), max_age, allow_incomplete
    )
    return await _run_lookup(request, settings or build_settings({}, keywords), transport, listeners)


async def disassociate_cores(
    cores: Iterable[str],
    *,
    inventory: str | Path,
    max_age: float = MAX_SCAN_AGE,
    allow_incomplete: bool = False,
    settings: Settings | None = None,
    transport: Transport | None = None,
    listeners: Sequence[Listener] = (),
    **keywords: Any,
) -> Summary:
    """Disassociate all client devices of these cores, and return the summary.

    Keywords and errors as for `disassociate_things`; a sweep lists just these cores.
    """
    request = LookupRequest(
        LookupTargets.from_names("core", cores, "cores"), Path(inventory), max_age, allow_incomplete
    )
    return await _run_lookup(request, settings or build_settings({}, keywords), transport, listeners)


async def _run_lookup(
    request: LookupRequest, settings: Settings, transport: Transport | None, listeners: Sequence[Listener]
) -> Summary:
    builder = await _prepare_lookup(request, settings, transport is None)
    return await run_prepared(builder, transport, listeners)


async def _prepare_lookup(request: LookupRequest, settings: Settings, use_aws: bool) -> JournalBuilder:
    target = await asyncio.to_thread(resolve_endpoint, connection_from_settings(settings)) if use_aws else None
    origin = await asyncio.to_thread(origin_if_finished, request.inventory)
    account = ""
    if target is not None:
        account = await _verify_account_and_scan(request, settings, target, needs_scan=origin is None)
    path = settings.journal or default_journal()
    builder, _ = await asyncio.to_thread(
        prepare_from_snapshot, request, path, settings, target, just_scanned=origin is None, account=account
    )
    return builder


async def _verify_account_and_scan(
    request: LookupRequest, settings: Settings, target: Endpoint, *, needs_scan: bool
) -> str:
    """The account, empty when it is not known; after a sweep, where one is needed."""
    caller, _ = await verify_account(connection_from_settings(settings), target, settings)
    if needs_scan:
        cores = request.targets.names if request.targets.kind == "core" else None
        result = await scan_with_settings(
            request.inventory, settings, target, account=caller, cores=cores, max_age=request.max_age
        )
        if not result.finished:
            error_type = CredentialsError if result.is_auth_error else SnapshotError
            raise error_type(f"snapshot {request.inventory}: its sweep is not over ({result.state}): {result.reason}")
    return caller.account if caller else ""
