"""Rule: a whole undo for programs lives here: prepared, guarded and run in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from asyncgg.events import Listener
from asyncgg.journal import JournalReader
from asyncgg.manifest.only import Only, load_only
from asyncgg.model import Summary
from asyncgg.runs.known import known_before
from asyncgg.runs.library import run_prepared
from asyncgg.runs.prepare import Preparation, default_journal
from asyncgg.runs.stored import inherited, refuse_elsewhere, target_of
from asyncgg.runs.undoing import NOT_INHERITED, prepare_undo
from asyncgg.transport import Transport

__all__ = ["undo"]


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
    """Take back what the run of `journal` is known to have changed, as a new run with the journal `into`.

    `only`: a file as of `--only`, or (core, thing) pairs and things. `inventory`: a snapshot from before the run.
    `transport` replaces AWS, and must be one of the opposite operation. Other keywords are settings.

    Raises as `prepare_undo` and `Run` do; until the first request is sent nothing is left behind.
    """
    journal = Path(journal)

    def prepare() -> Preparation:
        with JournalReader(journal) as reader:
            meta = reader.meta()
            refuse_elsewhere(meta, keywords)
            settings = inherited(reader.settings(), meta, keywords, without=NOT_INHERITED)
        target = target_of(settings, meta, keywords) if transport is None else None
        path = Path(into) if into is not None else settings.journal or default_journal()
        with known_before(None if inventory is None else Path(inventory), journal, meta) as known:
            return prepare_undo(
                journal, path, settings, target, only=_only(only), known_before=known, assume=assume_associated
            )[0]

    preparation = await asyncio.to_thread(prepare)
    return await run_prepared(preparation, transport, listeners)


def _only(given: str | Path | Iterable[tuple[str, str] | str] | None) -> Only | None:
    if given is None:
        return None
    return load_only(given) if isinstance(given, (str, Path)) else Only("<only>", given)
