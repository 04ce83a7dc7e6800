"""Rule: `asyncgg undo`: its options; what may be taken back is decided in `asyncgg.runs.undo_plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncgg.cli.console import Console
from asyncgg.cli.options import (
    CONNECTION,
    GUARDS,
    JOURNAL,
    LIMITS,
    NOTIFY,
    OUTPUT,
    JournalPath,
    extract_settings,
    with_options,
)

if TYPE_CHECKING:
    from asyncgg.runs import JournalBuilder, Plan
    from asyncgg.transport import Endpoint

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """
\b
Examples:
  asyncgg undo asyncgg-20260131-120000.journal
  asyncgg undo asyncgg-20260131-120000.journal --only wrong.csv --dry-run
  asyncgg undo asyncgg-20260131-120000.journal --inventory before.db --yes --json
  asyncgg undo asyncgg-20260131-120000.journal --assume-associated

\b
What is taken back is what the service accepted, and what was known to be associated before: because the
run listed it itself, because a snapshot from before the run holds it, or because you say so. An undo is a
run with a journal of its own: it can be resumed, retried, verified and undone.
"""


@with_options(GUARDS, CONNECTION, LIMITS, JOURNAL, NOTIFY, OUTPUT)
def command(
    run: JournalPath,
    *,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="FILE",
            help="take back only these: a manifest (core,thing), or one thing a line; - for standard input",
            rich_help_panel="What",
        ),
    ] = None,
    inventory: Annotated[
        Path | None,
        typer.Option(
            "--inventory",
            metavar="OLD.db",
            help="a snapshot from before the run: what it holds was associated",
            rich_help_panel="What",
        ),
    ] = None,
    assume_associated: Annotated[
        bool,
        typer.Option(
            "--assume-associated",
            help="take it that all the run disassociated was associated before",
            rich_help_panel="What",
            show_default=False,
        ),
    ] = False,
    **arguments: Any,
) -> int:
    """Associate again what a run is known to have disassociated, as a new run; an undo of an undo disassociates.

    Settings, account, Region and endpoint are those of the run unless an option says otherwise.
    """
    from asyncgg.cli.notify import NotifyOnExit
    from asyncgg.cli.supervisor import write_summary
    from asyncgg.cli.workflow import RunRequest, plan_confirm_run
    from asyncgg.journal import JournalReader
    from asyncgg.manifest.name_lists import load_selection
    from asyncgg.runs import default_journal
    from asyncgg.runs.saved_settings import require_same_region, resolve_saved_endpoint, restore_settings
    from asyncgg.runs.undo_plan import NOT_INHERITED, prepare_undo, prior_state_from_snapshot

    overrides = extract_settings(arguments)
    with JournalReader(run) as reader:
        meta = reader.meta()
        require_same_region(meta, overrides)
        settings = restore_settings(reader.settings(), meta, overrides, exclude=NOT_INHERITED)
    console = Console(as_json=bool(arguments["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")

    def prepare(endpoint: Endpoint) -> tuple[JournalBuilder, Plan]:
        selection = load_selection(only) if only else None
        path = settings.journal or default_journal()
        with prior_state_from_snapshot(inventory, run, meta) as prior_state:
            return prepare_undo(
                run,
                path,
                settings,
                endpoint,
                only=selection,
                prior_state=prior_state,
                assume_associated=assume_associated,
            )

    request = RunRequest(
        resolve_endpoint=lambda: resolve_saved_endpoint(settings, meta, overrides),
        prepare=prepare,
        yes=bool(arguments["yes"]),
        dry_run=bool(arguments["dry_run"]),
        stdin_in_use=only == "-",
        recorded_account=meta.get("account", ""),
    )
    with NotifyOnExit(arguments["notify"], settings, console) as notifier:
        outcome = plan_confirm_run(request, settings, console)
        return 0 if outcome is None else write_summary(console, *notifier.record_result(*outcome))
