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
from asyncgg.inventory import Origin
from asyncgg.journal import JournalReader
from asyncgg.manifest.writing import written
from asyncgg.report.verified import verification_record_path
from asyncgg.runs.execute import connection_of
from asyncgg.runs.guarded import confirm_account
from asyncgg.runs.stored import inherited, refuse_elsewhere, target_of
from asyncgg.runs.sweeping import sweep_options, sweep_rate
from asyncgg.runs.undoing import NOT_INHERITED
from asyncgg.runs.verification import Verification, verification_object
from asyncgg.runs.verifier import Verifier
from asyncgg.settings import Settings
from asyncgg.transport import CallerIdentity, Endpoint, open_transport

__all__ = ["Origins", "Verifier", "origins_of", "verify", "verify_journal"]

_OF_RUNS_ONLY: Final = NOT_INHERITED | {"deadline", "abort_at", "abort_after"}
"""Settings of a run that say nothing of how its things are to be looked at."""


@dataclass(frozen=True, slots=True)
class Origins:
    """Where and how a journal is to be verified: as its run was begun, unless something else is given now."""

    journal: Path
    settings: Settings
    target: Endpoint
    account: str
    """The account the run was begun in; empty when it was not known."""


def origins_of(journal: Path, given: Mapping[str, Any]) -> Origins:
    """What the journal says of it, under the settings `given` now. Blocking.

    Raises:
        JournalError: it is none, or is being run: two limiters would share one quota.
        UsageError, SettingsError: as `refuse_elsewhere`, `target_of` and `inherited`.
    """
    with JournalReader(journal) as reader:
        if reader.is_running():
            raise JournalError(f"journal {journal}: a process is running it; wait for its end, then verify")
        meta = reader.meta()
        refuse_elsewhere(meta, given)
        settings = inherited(reader.settings(), meta, given, without=_OF_RUNS_ONLY)
    return Origins(journal, settings, target_of(settings, meta, given), meta.get("account", ""))


async def verify_journal(
    of: Origins,
    *,
    account: CallerIdentity | None = None,
    on_begin: Callable[[Verifier], object] = lambda verifier: None,
    **how: Any,
) -> Verification:
    """Verify a journal, and write the proof beside it unless the looking was stopped; `unkept` says when it could not.

    `how` are `Verifier`'s keywords; `on_begin` gets it before the first request, to stop it. Raises as it does, and
    `CredentialsError` when there are no credentials.
    """
    options, target = sweep_options(of.settings), of.target
    whose = account or CallerIdentity("", "", "")
    origin = Origin(whose.account, target.region, target.url)
    async with open_transport(connection_of(of.settings), of.settings.transport) as transport:
        lane = Lane(transport, sweep_rate(of.settings, target.region), retry=options.retry)
        verifier = Verifier(of.journal, lane, transport, options, origin=origin, **how)
        on_begin(verifier)
        done = await verifier.run()
    done = replace(done, account=whose.account, arn=whose.arn, region=target.region, endpoint=target.url)
    return await asyncio.to_thread(_with_proof, done) if done.finished else done


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
    Other keywords are settings. Raises as `origins_of`, `verify_journal` and `confirm_account` do.
    """
    of = await asyncio.to_thread(origins_of, Path(journal), keywords)
    account, _ = await confirm_account(connection_of(of.settings), of.target, of.settings, recorded=of.account)
    return await verify_journal(of, account=account, wait=wait, out=out, failures=failures, listeners=listeners)


def _with_proof(done: Verification) -> Verification:
    """Write the proof; a folder that cannot be written must not cost what was found."""
    try:
        with written(verification_record_path(done.journal), done.journal) as file:
            file.write(json.dumps(verification_object(done), ensure_ascii=False, indent=1) + "\n")
    except UsageError as error:
        return replace(done, unkept=(*done.unkept, str(error)))
    return done
