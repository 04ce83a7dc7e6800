"""Rule: `asyncgg disassociate`: its options; what they set in motion is `asyncgg.cli.order`, imported when called."""

from __future__ import annotations

from typing import Any

from asyncgg.cli.options import (
    CONFIG,
    CONNECTION,
    GUARDS,
    JOURNAL,
    LIMITS,
    LOOKUP,
    MANIFEST,
    NOTIFY,
    OUTPUT,
    ManifestSpec,
    given_settings,
    with_options,
)
from asyncgg.cli.output import Output
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


@with_options(LOOKUP, GUARDS, CONNECTION, LIMITS, MANIFEST, JOURNAL, NOTIFY, OUTPUT, (CONFIG,))
def command(
    manifest: ManifestSpec = None,
    **given: Any,
) -> int:
    """Plan, confirm, run: disassociate what a manifest names, or all that some things or cores have."""
    from asyncgg.cli.finding import asked_of
    from asyncgg.cli.order import Order, disassociate
    from asyncgg.cli.running import finish
    from asyncgg.cli.telling import Telling

    settings = load_settings(given_settings(given), config=given["config"])
    order = Order(
        manifest=manifest or "",
        asked=asked_of(manifest, given),
        yes=bool(given["yes"]),
        dry_run=bool(given["dry_run"]),
        format=given["format"],
        rejects=given["rejects"],
    )
    output = Output(as_json=bool(given["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")
    with Telling(given["notify"], settings, output) as telling:
        ended = disassociate(order, settings, output)
        return 0 if ended is None else finish(output, *telling.ended(*ended))
