"""The `asyncgg disassociate` command."""

from __future__ import annotations

from typing import Any

from asyncgg.cli.context import CommandContext
from asyncgg.cli.options import (
    CONFIG,
    CONNECTION,
    GUARDS,
    JOURNAL,
    LIMITS,
    LOOKUP,
    MANIFEST,
    MANIFEST_ARGUMENT,
    NOTIFY,
    RUN_OUTPUT,
    STATE,
    make_command,
)

_EPILOG = """
\b
Examples:
  asyncgg disassociate --things gone.txt
  asyncgg disassociate --things gone.txt --inventory fleet.db --dry-run
  asyncgg disassociate --core core-berlin-7 --core core-lyon-2
  asyncgg disassociate fleet.csv
  asyncgg disassociate fleet.jsonl.gz --rate 10 --protect never.txt
  asyncgg disassociate - --yes --json < fleet.csv > summary.json
  asyncgg disassociate s3://bucket/fleet.parquet --expect-account 123456789012
  asyncgg disassociate s3://bucket/fleet.csv --yes --state s3://bucket/runs

A manifest lists cores and things. With --things or --cores, asyncgg looks the associations up: AWS lists
client devices per core, so --things scans the whole Region first, --cores and --core only those cores.
The snapshot of the scan is kept next to the journal. --inventory reuses it, or resumes an interrupted scan.
"""


@make_command(
    MANIFEST_ARGUMENT,
    LOOKUP,
    GUARDS,
    CONNECTION,
    LIMITS,
    MANIFEST,
    STATE,
    JOURNAL,
    NOTIFY,
    RUN_OUTPUT,
    CONFIG,
    epilog=_EPILOG,
)
def command(manifest: str | None, **arguments: Any) -> int:
    """Disassociate what a manifest lists, or everything of the given things or cores.

    Shows the plan and asks for confirmation first.
    """
    from asyncgg.cli.notify import NotifyOnExit
    from asyncgg.cli.sources import parse_lookup
    from asyncgg.cli.supervisor import write_summary
    from asyncgg.cli.workflow import disassociate, disassociate_in_state

    context = CommandContext.load(arguments)
    lookup = parse_lookup(manifest, arguments)
    options = {name: arguments[name] for name in ("yes", "dry_run", "format", "rejects")}
    with NotifyOnExit(arguments["notify"], context) as notifier:
        if context.settings.state is not None and not arguments["dry_run"]:
            return disassociate_in_state(manifest or "", lookup, context, arguments, options, notifier)
        outcome = disassociate(manifest or "", lookup, context, **options)
        return 0 if outcome is None else write_summary(context.console, *notifier.record_result(*outcome))
