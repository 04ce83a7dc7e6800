"""Complete runs in one call: disassociate, resume, retry, undo and verify."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from asyncgg.errors import CredentialsError, SnapshotError, UsageError
from asyncgg.events import Listener
from asyncgg.inventory import MAX_SCAN_AGE
from asyncgg.journal import JournalReader
from asyncgg.manifest import Row
from asyncgg.manifest.name_lists import Selection, load_selection
from asyncgg.models import Summary
from asyncgg.runs.connection import (
    connection_from_settings,
    require_same_region,
    resolve_saved_endpoint,
    restore_settings,
    verify_account,
)
from asyncgg.runs.execute import RunMode
from asyncgg.runs.lookup import (
    LookupRequest,
    LookupTargets,
    origin_if_finished,
    prepare_from_snapshot,
    prepare_without_targets,
)
from asyncgg.runs.prepare import JournalBuilder
from asyncgg.runs.run import Rows, Run, run_prepared, run_to_completion
from asyncgg.runs.scan import scan_with_settings
from asyncgg.runs.undo_plan import NOT_INHERITED, mark_original_undone, prepare_undo, prior_state_from_snapshot
from asyncgg.runs.verifier import load_context, verify_with_context
from asyncgg.runs.verify_report import Verification
from asyncgg.settings import Settings, build_settings
from asyncgg.sharing import sharing
from asyncgg.transport import Transport, resolve_endpoint


async def disassociate(rows: Rows, **keywords: Any) -> Summary:
    """Disassociate all `rows` and return the summary. Keywords and errors as for `Run`."""
    return await run_to_completion(Run(rows, **keywords))


def disassociate_sync(rows: Iterable[Row], **keywords: Any) -> Summary:
    """Like `disassociate`, for a program without an event loop."""
    return asyncio.run(disassociate(rows, **keywords))


async def resume(journal: str | Path | None = None, **keywords: Any) -> Summary:
    """Continue a stopped run, or the newest one of `state`. Keywords and errors as for `Run.from_journal`."""
    return await run_to_completion(Run.from_journal(journal, mode=RunMode.RESUME, **keywords))


async def retry(journal: str | Path | None = None, **keywords: Any) -> Summary:
    """Try the failed things again in a new pass of the journal; keywords and errors as `resume`."""
    return await run_to_completion(Run.from_journal(journal, mode=RunMode.RETRY, **keywords))


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
    """Disassociate these things from all of their cores, and return the summary.

    The things are looked up in the snapshot `inventory`. If the snapshot is missing or unfinished,
    the fleet is scanned first. An existing snapshot must be of the same fleet and started at most
    `max_age` seconds ago. `allow_incomplete`: continue although some cores could not be listed.
    `transport` replaces AWS for the run, not for a scan. Other keywords are settings.

    Raises:
        SnapshotError: the snapshot cannot be used, or the scan did not complete; the same call
            resumes the scan.
        UsageError, GuardError, JournalError: as `prepare_from_snapshot`.
        CredentialsError: there are no credentials, or they do not allow listing.
    """
    targets = LookupTargets.from_names("thing", things, "things")
    request = LookupRequest(targets, Path(inventory), max_age, allow_incomplete)
    with sharing():
        return await _run_lookup(
            request, _without_state(settings or build_settings({}, keywords)), transport, listeners
        )


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

    Keywords and errors as for `disassociate_things`. A scan lists only these cores.
    """
    targets = LookupTargets.from_names("core", cores, "cores")
    request = LookupRequest(targets, Path(inventory), max_age, allow_incomplete)
    with sharing():
        return await _run_lookup(
            request, _without_state(settings or build_settings({}, keywords)), transport, listeners
        )


def _without_state(settings: Settings) -> Settings:
    """These settings. Raises `UsageError` if they have a state, which this function would not follow."""
    if settings.state is not None:
        raise UsageError(
            "state: only Run, disassociate, resume and retry keep a run in a state; or use the command line"
        )
    return settings


async def _run_lookup(
    request: LookupRequest, settings: Settings, transport: Transport | None, listeners: Sequence[Listener]
) -> Summary:
    endpoint, account = None, ""
    has_targets = bool(request.targets.names)
    needs_scan = has_targets and await asyncio.to_thread(origin_if_finished, request.inventory) is None
    if transport is None:
        endpoint = await asyncio.to_thread(resolve_endpoint, connection_from_settings(settings))
        caller, _ = await verify_account(endpoint, settings)
        account = caller.account if caller else ""
        if needs_scan:
            cores = request.targets.cores_to_scan
            scan = await scan_with_settings(
                request.inventory,
                settings,
                endpoint,
                account=caller,
                cores=cores,
                max_age=request.max_age,
                listeners=listeners,
            )
            if not scan.finished:
                error_type = CredentialsError if scan.is_auth_error else SnapshotError
                raise error_type(f"{request.inventory}: the scan did not complete ({scan.state}): {scan.reason}")
    path = settings.journal
    if has_targets:
        builder, _ = await asyncio.to_thread(
            prepare_from_snapshot, request, path, settings, endpoint, just_scanned=needs_scan, account=account
        )
    else:
        builder, _ = prepare_without_targets(request.targets, path, settings, endpoint)
    return await run_prepared(builder, transport, listeners)


async def undo(
    journal: str | Path,
    *,
    into: str | Path | None = None,
    only: str | Path | Iterable[tuple[str, str] | str] | None = None,
    inventory: str | Path | None = None,
    assume_associated: bool = False,
    transport: Transport | None = None,
    listeners: Sequence[Listener] = (),
    **keywords: Any,
) -> Summary:
    """Revert what the run of `journal` is known to have changed, by a run with the journal `into`.

    `only`: a file as for `--only`, or (core, thing) pairs and things. `inventory`: a snapshot from
    before the run. `transport` replaces AWS; its operation must be the inverse one. Other keywords
    are settings.

    Raises as `prepare_undo` and `Run` do. No file remains unless a request was sent.
    """
    journal = Path(journal)

    def prepare() -> JournalBuilder:
        with JournalReader(journal) as reader:
            meta = reader.meta()
            require_same_region(meta, keywords)
            settings = _without_state(restore_settings(reader.settings(), meta, keywords, exclude=NOT_INHERITED))
        endpoint = resolve_saved_endpoint(settings, meta, keywords) if transport is None else None
        path = Path(into) if into is not None else settings.journal
        selection = None
        if only is not None:
            selection = load_selection(only) if isinstance(only, (str, Path)) else Selection("<only>", only)
        with prior_state_from_snapshot(
            None if inventory is None else Path(inventory), journal, meta, assume_associated=assume_associated
        ) as prior_state:
            return prepare_undo(
                journal,
                path,
                settings,
                endpoint,
                only=selection,
                prior_state=prior_state,
                assume_associated=assume_associated,
            )[0]

    builder = await asyncio.to_thread(prepare)
    try:
        return await run_prepared(builder, transport, listeners)
    finally:
        if builder.path.exists():
            await mark_original_undone(builder.path)


async def verify(
    journal: str | Path,
    *,
    wait: float = 0.0,
    out: Path | None = None,
    failures: Path | None = None,
    listeners: Sequence[Listener] = (),
    **keywords: Any,
) -> Verification:
    """List the cores of a run again, compare with its journal, and save the result next to it.

    `wait`: seconds during which uncertain cores are listed again. `out` keeps the snapshot,
    `failures` (a CSV) gets the mismatches. Other keywords are settings. Raises as `load_context`,
    `verify_with_context` and `verify_account` do.
    """
    context = await asyncio.to_thread(load_context, Path(journal), keywords)
    _without_state(context.settings)
    with sharing():
        account, _ = await verify_account(context.target, context.settings, expected_from_journal=context.account)
        return await verify_with_context(
            context, account=account, wait=wait, out=out, failures=failures, listeners=listeners
        )
