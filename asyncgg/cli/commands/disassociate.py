"""Rule: `asyncgg disassociate`: its options; what they set in motion is `asyncgg.cli.order`, imported when called."""

from __future__ import annotations

from typing import Any

from asyncgg.cli.console import Console
from asyncgg.cli.options import (
    CONFIG,
    CONNECTION,
    GUARDS,
    JOURNAL,
    LIMITS,
    LOOKUP_OPTIONS,
    MANIFEST,
    NOTIFY,
    OUTPUT,
    ManifestSpec,
    extract_settings,
    with_options,
)
from asyncgg.settings import load_settings

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """
\b
Examples:
  asyncgg disassociate --things gone.txt
  asyncgg disassociate --things gone.txt --inventory fleet.db --dry-run
  asyncgg disassociate --core core-berlin-7 --core core-lyon-2
  asyncgg disassociate fleet.csv
  asyncgg disassociate fleet.jsonl.gz --rate 10 --protect never.txt --abort-at 10
  asyncgg disassociate - --yes --json < fleet.csv > summary.json
  asyncgg disassociate s3://bucket/fleet.parquet --expect-account 123456789012

\b
A manifest names cores and things. Things or cores alone are looked up: AWS lists client devices core by
core, so --things sweeps the whole Region first, --cores and --core just those cores. The sweep is kept
beside the journal; with --inventory it is used again, or gone on with after it was stopped.
"""


@with_options(LOOKUP_OPTIONS, GUARDS, CONNECTION, LIMITS, MANIFEST, JOURNAL, NOTIFY, OUTPUT, (CONFIG,))
def command(
    manifest: ManifestSpec = None,
    **arguments: Any,
) -> int:
    """Plan, confirm, run: disassociate what a manifest names, or all that some things or cores have."""
    from asyncgg.cli.notify import NotifyOnExit
    from asyncgg.cli.order import DisassociateRequest, disassociate
    from asyncgg.cli.sources import parse_lookup
    from asyncgg.cli.supervisor import write_summary

    settings = load_settings(extract_settings(arguments), config=arguments["config"])
    request = DisassociateRequest(
        manifest=manifest or "",
        lookup=parse_lookup(manifest, arguments),
        yes=bool(arguments["yes"]),
        dry_run=bool(arguments["dry_run"]),
        format=arguments["format"],
        rejects=arguments["rejects"],
    )
    console = Console(as_json=bool(arguments["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")
    with NotifyOnExit(arguments["notify"], settings, console) as notifier:
        outcome = disassociate(request, settings, console)
        return 0 if outcome is None else write_summary(console, *notifier.record_result(*outcome))
