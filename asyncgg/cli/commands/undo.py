"""The `asyncgg undo` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncgg.cli import options
from asyncgg.cli.context import CommandContext

if TYPE_CHECKING:
    from asyncgg.runs import JournalBuilder, Plan
    from asyncgg.transport import Endpoint

_EPILOG = """
\b
Examples:
  asyncgg undo RUN.journal
  asyncgg undo RUN.journal --only wrong.csv --dry-run
  asyncgg undo RUN.journal --inventory before.db --yes
  asyncgg undo RUN.journal --assume-associated

Only things that the service accepted and that were associated before are restored. Proof of that is the
run's own scan, a snapshot from before the run, or --assume-associated. An undo is a run with its own
journal: it can be resumed, retried, verified and undone.
"""


@options.make_command(
    options.Argument("run", "JOURNAL", "journal of the run", type=options.PATH),
    options.Option(
        "--only",
        "FILE",
        "restore only these: a manifest (core,thing), or one thing per line; - for standard input",
        "Scope",
    ),
    options.Option(
        "--inventory",
        "SNAPSHOT",
        "snapshot from before the run: its contents were associated",
        "Scope",
        type=options.PATH,
    ),
    options.Option(
        "--assume-associated", help="assume that everything the run disassociated was associated before", panel="Scope"
    ),
    options.GUARDS,
    options.CONNECTION,
    options.LIMITS,
    options.JOURNAL,
    options.NOTIFY,
    options.RUN_OUTPUT,
    epilog=_EPILOG,
)
def command(run: Path, *, only: str | None, inventory: Path | None, assume_associated: bool, **arguments: Any) -> int:
    """Associate again what a run disassociated, as a new run; undoing an undo disassociates.

    Settings, account, Region and endpoint are those of the run unless an option overrides them.
    """
    from asyncgg.cli.notify import NotifyOnExit
    from asyncgg.cli.supervisor import run_async, write_summary
    from asyncgg.cli.workflow import RunRequest, plan_confirm_run
    from asyncgg.journal import JournalReader
    from asyncgg.manifest.name_lists import load_selection
    from asyncgg.runs.connection import require_same_region, resolve_saved_endpoint, restore_settings
    from asyncgg.runs.undo_plan import (
        NOT_INHERITED,
        mark_original_undone,
        prepare_undo,
        prior_state_from_snapshot,
        write_protect_list,
    )

    overrides = options.extract_settings(arguments)
    with JournalReader(run) as reader:
        meta = reader.meta()
        require_same_region(meta, overrides)
        settings = restore_settings(reader.settings(), meta, overrides, exclude=NOT_INHERITED)
    context = CommandContext.create(settings, arguments)

    def prepare(endpoint: Endpoint, journal: Path | None) -> tuple[JournalBuilder, Plan]:
        with prior_state_from_snapshot(inventory, run, meta, assume_associated=assume_associated) as prior_state:
            return prepare_undo(
                run,
                journal,
                settings,
                endpoint,
                only=load_selection(only) if only else None,
                prior_state=prior_state,
                assume_associated=assume_associated,
            )

    def before_start(builder: JournalBuilder, endpoint: Endpoint) -> None:
        # Before the first request: a killed undo leaves its mark, too.
        if warning := run_async(mark_original_undone(builder.path)):
            context.console.log_event({"event": "warning", "warning": warning}, f"warning: {warning}")
        if policy := meta.get("policy_name"):
            path = write_protect_list(builder.path)
            event = {"event": "protect-list", "policy": policy, "path": str(path)}
            text = f"policy {policy} selects these things again; add their list to `protect` in its [guards]: {path}"
            context.console.log_event(event, text)

    request = RunRequest(
        before_start=before_start,
        resolve_endpoint=lambda: resolve_saved_endpoint(settings, meta, overrides),
        prepare=prepare,
        journal=settings.journal,
        yes=arguments["yes"],
        dry_run=arguments["dry_run"],
        stdin_in_use=only == "-",
        recorded_account=meta.get("account", ""),
    )
    with NotifyOnExit(arguments["notify"], context) as notifier:
        outcome = plan_confirm_run(request, context)
        if outcome is not None:
            run_async(mark_original_undone(Path(outcome[1].journal)))  # with the counts of the end
        return 0 if outcome is None else write_summary(context.console, *notifier.record_result(*outcome))
