"""Rule: what `disassociate` is asked to do with a manifest lives here; how it is done, in `asyncgg.cli.errand`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from asyncgg.cli.errand import Errand, carry_out
from asyncgg.cli.importing import import_manifest
from asyncgg.cli.output import Output
from asyncgg.engine import Result
from asyncgg.model import Summary
from asyncgg.runs import Plan, Preparation, default_journal
from asyncgg.runs.execute import connection_of
from asyncgg.settings import Settings
from asyncgg.transport import Target, resolve

__all__ = ["Order", "disassociate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a person asked of `disassociate` beyond the settings."""

    manifest: str
    yes: bool = False
    dry_run: bool = False
    format: str | None = None
    rejects: Path | None = None
    stdin: BinaryIO | None = None
    """What `-` reads instead of standard input."""


def disassociate(order: Order, settings: Settings, output: Output) -> tuple[Result, Summary] | None:
    """Do it; None after a dry run. Raises as `carry_out`."""

    def prepare(target: Target) -> tuple[Preparation, Plan]:
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
        target=lambda: resolve(connection_of(settings)),
        prepare=prepare,
        yes=order.yes,
        dry_run=order.dry_run,
        stdin_is_taken=order.manifest == "-" and order.stdin is None,
    )
    return carry_out(errand, settings, output)
