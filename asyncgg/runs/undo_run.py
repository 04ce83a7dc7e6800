"""Rule: a whole undo for programs lives here: prepared, guarded and run in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from asyncgg.events import Listener
from asyncgg.journal import JournalReader
from asyncgg.manifest.name_lists import Selection, load_selection
from asyncgg.models import Summary
from asyncgg.runs.api import run_prepared
from asyncgg.runs.known import prior_state_from_snapshot
from asyncgg.runs.prepare import JournalBuilder, default_journal
from asyncgg.runs.saved_settings import require_same_region, resolve_saved_endpoint, restore_settings
from asyncgg.runs.undo_plan import NOT_INHERITED, prepare_undo
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

    def prepare() -> JournalBuilder:
        with JournalReader(journal) as reader:
            meta = reader.meta()
            require_same_region(meta, keywords)
            settings = restore_settings(reader.settings(), meta, keywords, exclude=NOT_INHERITED)
        target = resolve_saved_endpoint(settings, meta, keywords) if transport is None else None
        path = Path(into) if into is not None else settings.journal or default_journal()
        with prior_state_from_snapshot(None if inventory is None else Path(inventory), journal, meta) as prior_state:
            return prepare_undo(
                journal,
                path,
                settings,
                target,
                only=_to_selection(only),
                prior_state=prior_state,
                assume_associated=assume_associated,
            )[0]

    builder = await asyncio.to_thread(prepare)
    return await run_prepared(builder, transport, listeners)


def _to_selection(only: str | Path | Iterable[tuple[str, str] | str] | None) -> Selection | None:
    if only is None:
        return None
    return load_selection(only) if isinstance(only, (str, Path)) else Selection("<only>", only)
