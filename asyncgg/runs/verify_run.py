"""Rule: a whole verification lives here: where and as whom to look, and the proof that is kept beside the journal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from asyncgg.engine import Lane
from asyncgg.errors import JournalError, UsageError
from asyncgg.events import Listener
from asyncgg.files import atomic_write_text
from asyncgg.inventory import Origin
from asyncgg.journal import JournalReader
from asyncgg.report.verified import verification_record_path
from asyncgg.runs.account import verify_account
from asyncgg.runs.execute import connection_from_settings
from asyncgg.runs.saved_settings import require_same_region, resolve_saved_endpoint, restore_settings
from asyncgg.runs.scan import scan_options, scan_rate
from asyncgg.runs.undo_plan import NOT_INHERITED
from asyncgg.runs.verifier import Verifier
from asyncgg.runs.verify_report import Verification, verification_to_dict
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, Endpoint, open_transport

__all__ = ["Verifier", "VerifyContext", "load_context", "verify", "verify_with_context"]

_RUN_ONLY_SETTINGS: Final = NOT_INHERITED | {"deadline", "abort_at", "abort_after"}
"""Settings of a run that say nothing of how its things are to be looked at."""


@dataclass(frozen=True, slots=True)
class VerifyContext:
    """Where and how a journal is to be verified: as its run was begun, unless something else is given now."""

    journal: Path
    settings: Settings
    target: Endpoint
    account: str
    """The account the run was begun in; empty when it was not known."""


def load_context(journal: Path, overrides: Mapping[str, Any]) -> VerifyContext:
    """What the journal says of it, under the settings `given` now. Blocking.

    Raises:
        JournalError: it is none, or is being run: two limiters would share one quota.
        UsageError, SettingsError: as `require_same_region`, `resolve_saved_endpoint` and `inherited`.
    """
    with JournalReader(journal) as reader:
        if reader.is_running():
            raise JournalError(f"journal {journal}: a process is running it; wait for its end, then verify")
        meta = reader.meta()
        require_same_region(meta, overrides)
        settings = restore_settings(reader.settings(), meta, overrides, exclude=_RUN_ONLY_SETTINGS)
    return VerifyContext(journal, settings, resolve_saved_endpoint(settings, meta, overrides), meta.get("account", ""))


async def verify_with_context(
    context: VerifyContext,
    *,
    account: CallerIdentity | None = None,
    on_start: Callable[[Verifier], object] = lambda verifier: None,
    **verifier_options: Any,
) -> Verification:
    """Verify a journal, and write the proof beside it unless the looking was stopped; `write_errors` says when it could not.

    `how` are `Verifier`'s keywords; `on_begin` gets it before the first request, to stop it. Raises as it does, and
    `CredentialsError` when there are no credentials.
    """
    options, target = scan_options(context.settings), context.target
    caller = account or CallerIdentity("", "", "")
    origin = Origin(caller.account, target.region, target.url)
    async with open_transport(connection_from_settings(context.settings), context.settings.transport) as transport:
        lane = Lane(transport, scan_rate(context.settings, target.region), retry=options.retry)
        verifier = Verifier(context.journal, lane, transport, options, origin=origin, **verifier_options)
        on_start(verifier)
        verification = await verifier.run()
    verification = replace(
        verification, account=caller.account, arn=caller.arn, region=target.region, endpoint=target.url
    )
    return await asyncio.to_thread(_write_verification_record, verification) if verification.finished else verification


async def verify(
    journal: str | Path,
    *,
    wait: float = 0.0,
    out: Path | None = None,
    failures: Path | None = None,
    listeners: Sequence[Listener] = (),
    **keywords: Any,
) -> Verification:
    """List the cores of a run again and hold what its journal calls done against that; the proof is kept beside it.

    `wait`: seconds in which cores in doubt are listed again. `out` keeps the listing, `failures` (a CSV) what is left.
    Other keywords are settings. Raises as `load_context`, `verify_journal` and `verify_account` do.
    """
    context = await asyncio.to_thread(load_context, Path(journal), keywords)
    account, _ = await verify_account(
        connection_from_settings(context.settings),
        context.target,
        context.settings,
        expected_from_journal=context.account,
    )
    return await verify_with_context(
        context, account=account, wait=wait, out=out, failures=failures, listeners=listeners
    )


def _write_verification_record(verification: Verification) -> Verification:
    """Write the proof; a folder that cannot be written must not cost what was found."""
    try:
        with atomic_write_text(verification_record_path(verification.journal), verification.journal) as file:
            file.write(json.dumps(verification_to_dict(verification), ensure_ascii=False, indent=1) + "\n")
    except UsageError as error:
        return replace(verification, write_errors=(*verification.write_errors, str(error)))
    return verification
