"""Rule: what `disassociate` is asked to do lives here, with a manifest or without; how it is done, in
`asyncgg.cli.workflow`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from asyncgg.cli.console import Console
from asyncgg.cli.importing import build_from_manifest
from asyncgg.cli.sources import LookupArguments, LookupSource
from asyncgg.cli.supervisor import NotStartedError
from asyncgg.cli.workflow import RunRequest, plan_confirm_run
from asyncgg.engine import RunResult
from asyncgg.errors import AsyncggError
from asyncgg.models import Summary
from asyncgg.runs import JournalBuilder, Plan, default_journal
from asyncgg.runs.execute import connection_from_settings
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint, resolve_endpoint

__all__ = ["DisassociateRequest", "disassociate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisassociateRequest:
    """What a person asked of `disassociate` beyond the settings: a manifest, or something to be found."""

    manifest: str = ""
    lookup: LookupArguments | None = None
    yes: bool = False
    dry_run: bool = False
    format: str | None = None
    rejects: Path | None = None
    stdin: BinaryIO | None = None
    """What a manifest `-` reads instead of standard input."""


def disassociate(
    request: DisassociateRequest, settings: Settings, console: Console
) -> tuple[RunResult, Summary] | None:
    """Do it; None after a dry run. Raises as `plan_confirm_run`."""
    if request.lookup is not None:
        return _disassociate_lookup(request, request.lookup, settings, console)

    def prepare(endpoint: Endpoint) -> tuple[JournalBuilder, Plan]:
        return build_from_manifest(
            request.manifest,
            settings.journal or default_journal(),
            settings,
            endpoint,
            console,
            format=request.format,
            rejects=request.rejects,
            stdin=request.stdin,
        )

    run_request = RunRequest(
        resolve_endpoint=lambda: resolve_endpoint(connection_from_settings(settings)),
        prepare=prepare,
        yes=request.yes,
        dry_run=request.dry_run,
        stdin_in_use=request.manifest == "-" and request.stdin is None,
    )
    return plan_confirm_run(run_request, settings, console)


def _disassociate_lookup(
    request: DisassociateRequest, lookup: LookupArguments, settings: Settings, console: Console
) -> tuple[RunResult, Summary] | None:
    """The same without a manifest; a sweep that nothing came of is kept, and the person is told."""
    source = LookupSource(lookup, settings, console, account_required=not request.dry_run)
    run_request = RunRequest(
        resolve_endpoint=lambda: resolve_endpoint(connection_from_settings(settings)),
        prepare=source.prepare,
        yes=request.yes,
        dry_run=request.dry_run,
        stdin_in_use=lookup.reads_stdin,
    )
    try:
        outcome = plan_confirm_run(run_request, settings, console)
    except NotStartedError as error:
        raise NotStartedError("; ".join(filter(None, (str(error), source.reuse_hint)))) from None
    except AsyncggError as error:
        if source.reuse_hint and not source.journal.exists():  # else it has begun, and `resume` is the way
            error.add_note(source.reuse_hint)
        raise
    if outcome is None and source.reuse_hint:
        console.log_event({"event": "kept", "inventory": str(source.inventory)}, source.reuse_hint)
    return outcome
