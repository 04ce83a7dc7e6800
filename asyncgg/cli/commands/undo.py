"""The `asyncgg undo` command."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from asyncgg.cli import options
from asyncgg.errors import UsageError
from asyncgg.fleet.folder import is_campaign

_EPILOG = """
\b
Examples:
  asyncgg undo RUN.journal
  asyncgg undo RUN.journal --only wrong.csv --dry-run
  asyncgg undo RUN.journal --inventory before.db --yes
  asyncgg undo RUN.journal --assume-associated
  asyncgg undo --state s3://bucket/runs --run 20260131T020000Z
  asyncgg undo CAMPAIGN --assume-associated

Only things that the service accepted and that were associated before are restored. Proof of that is the
run's own scan, a snapshot from before the run, or --assume-associated. An undo is a run with its own
journal: it can be resumed, retried, verified and undone. In a state it is the newest run. The undo of a
campaign is a campaign, in the folder --journal; its --inventory is a folder of snapshots.
"""


@options.make_command(
    options.Argument(
        "original",
        "JOURNAL",
        "journal of the run, unless --state, or folder of a campaign",
        type=options.PATH,
        required=False,
    ),
    options.UNDO,
    options.GUARDS,
    options.CONNECTION,
    options.LIMITS,
    options.WORK_STATE,
    options.JOURNAL,
    options.NOTIFY,
    options.RUN_OUTPUT,
    epilog=_EPILOG,
)
def command(original: Path | None, *, run: str | None, **arguments: Any) -> int:
    """Associate again what a run disassociated, as a new run; undoing an undo disassociates.

    Settings, account, Region and endpoint are those of the run unless an option overrides them.
    """
    from asyncgg.cli.signals import raise_on_signal
    from asyncgg.cli.state import open_journal
    from asyncgg.cli.undo import undo_run

    if original is not None and is_campaign(original):
        from asyncgg.cli.campaign_undo import undo_campaign

        if run is not None:
            raise UsageError("--run selects a run of a --state, not of a campaign")
        return undo_campaign(original, arguments)
    with raise_on_signal(), ExitStack() as saved:
        opened = saved.enter_context(open_journal(original, run, arguments, lease=not arguments["dry_run"]))
        return undo_run(opened, saved, arguments)
