"""Rule: `asyncgg plan`: its options; what they set in motion is `asyncgg.cli.planned`, imported when called."""

from __future__ import annotations

from typing import Any

from asyncgg.cli.console import Console
from asyncgg.cli.options import (
    CONFIG,
    CONNECTION,
    GUARDS,
    LIMITS,
    LOOKUP_OPTIONS,
    MANIFEST,
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
  asyncgg plan fleet.csv
  asyncgg plan fleet.csv --quota-share 0.5 --protect never.txt
  asyncgg plan fleet.csv --skip-bad-rows --rejects bad.csv --json
  asyncgg plan --things gone.txt --inventory fleet.db

\b
It does not sweep: --things, --cores and --core need a finished --inventory, which `asyncgg inventory` makes.
"""

_GUARDS = [option for option in GUARDS if option.name not in {"yes", "dry_run"}]


@with_options(LOOKUP_OPTIONS, _GUARDS, CONNECTION, LIMITS, MANIFEST, OUTPUT, (CONFIG,))
def command(
    manifest: ManifestSpec = None,
    **arguments: Any,
) -> int:
    """Say what would be done: things, cores, requests, time at the quota. Sends nothing."""
    from asyncgg.cli.planned import plan_lookup, plan_manifest
    from asyncgg.cli.sources import parse_lookup

    settings = load_settings(extract_settings(arguments), config=arguments["config"])
    console = Console(as_json=bool(arguments["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")
    lookup = parse_lookup(manifest, arguments)
    if lookup is not None:
        return plan_lookup(lookup, settings, console)
    return plan_manifest(manifest or "", settings, console, format=arguments["format"], rejects=arguments["rejects"])
