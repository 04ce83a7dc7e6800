"""Rule: `asyncgg plan`: its options; what they set in motion is `asyncgg.cli.planned`, imported when called."""

from __future__ import annotations

from typing import Any

from asyncgg.cli.options import (
    CONFIG,
    CONNECTION,
    GUARDS,
    LIMITS,
    LOOKUP,
    MANIFEST,
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
  asyncgg plan fleet.csv
  asyncgg plan fleet.csv --quota-share 0.5 --protect never.txt
  asyncgg plan fleet.csv --skip-bad-rows --rejects bad.csv --json
  asyncgg plan --things gone.txt --inventory fleet.db

\b
It does not sweep: --things, --cores and --core need a finished --inventory, which `asyncgg inventory` makes.
"""

_GUARDS = [option for option in GUARDS if option.name not in {"yes", "dry_run"}]


@with_options(LOOKUP, _GUARDS, CONNECTION, LIMITS, MANIFEST, OUTPUT, (CONFIG,))
def command(
    manifest: ManifestSpec = None,
    **given: Any,
) -> int:
    """Say what would be done: things, cores, requests, time at the quota. Sends nothing."""
    from asyncgg.cli.finding import asked_of
    from asyncgg.cli.planned import planned, planned_of_snapshot

    settings = load_settings(given_settings(given), config=given["config"])
    output = Output(as_json=bool(given["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")
    asked = asked_of(manifest, given)
    if asked is not None:
        return planned_of_snapshot(asked, settings, output)
    return planned(manifest or "", settings, output, format=given["format"], rejects=given["rejects"])
