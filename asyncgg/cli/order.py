"""Rule: what `disassociate` is asked to do lives here, with a manifest or without; how it is done, in
`asyncgg.cli.errand`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from asyncgg.cli.errand import Errand, carry_out
from asyncgg.cli.finding import Asked, Finder
from asyncgg.cli.importing import import_manifest
from asyncgg.cli.output import Output
from asyncgg.cli.running import NotBegunError
from asyncgg.engine import RunResult
from asyncgg.errors import AsyncggError
from asyncgg.model import Summary
from asyncgg.runs import JournalBuilder, Plan, default_journal
from asyncgg.runs.execute import connection_from_settings
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint, resolve_endpoint

__all__ = ["Order", "disassociate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a person asked of `disassociate` beyond the settings: a manifest, or something to be found."""

    manifest: str = ""
    asked: Asked | None = None
    yes: bool = False
    dry_run: bool = False
    format: str | None = None
    rejects: Path | None = None
    stdin: BinaryIO | None = None
    """What a manifest `-` reads instead of standard input."""


def disassociate(order: Order, settings: Settings, output: Output) -> tuple[RunResult, Summary] | None:
    """Do it; None after a dry run. Raises as `carry_out`."""
    if order.asked is not None:
        return _found(order, order.asked, settings, output)

    def prepare(target: Endpoint) -> tuple[JournalBuilder, Plan]:
        return import_manifest(
            order.manifest,
            settings.journal or default_journal(),
            settings,
            target,
            output,
            format=order.format,
            rejects=order.rejects,
            stdin=order.stdin,
        )

    errand = Errand(
        target=lambda: resolve_endpoint(connection_from_settings(settings)),
        prepare=prepare,
        yes=order.yes,
        dry_run=order.dry_run,
        stdin_is_taken=order.manifest == "-" and order.stdin is None,
    )
    return carry_out(errand, settings, output)


def _found(order: Order, asked: Asked, settings: Settings, output: Output) -> tuple[RunResult, Summary] | None:
    """The same without a manifest; a sweep that nothing came of is kept, and the person is told."""
    finder = Finder(asked, settings, output, must_act=not order.dry_run)
    errand = Errand(
        target=lambda: resolve_endpoint(connection_from_settings(settings)),
        prepare=finder.prepare,
        yes=order.yes,
        dry_run=order.dry_run,
        stdin_is_taken=asked.takes_stdin,
    )
    try:
        ended = carry_out(errand, settings, output)
    except NotBegunError as error:
        raise NotBegunError("; ".join(filter(None, (str(error), finder.hint)))) from None
    except AsyncggError as error:
        if finder.hint and not finder.journal.exists():  # else it has begun, and `resume` is the way
            error.add_note(finder.hint)
        raise
    if ended is None and finder.hint:
        output.tell({"event": "kept", "inventory": str(finder.inventory)}, finder.hint)
    return ended
