"""Rule: `asyncgg disassociate`: its options; what they set in motion is `asyncgg.cli.order`, imported when called."""

from __future__ import annotations

from typing import Any

from asyncgg.cli.options import (
    CONFIG,
    CONNECTION,
    GUARDS,
    JOURNAL,
    LIMITS,
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
  asyncgg disassociate fleet.csv
  asyncgg disassociate fleet.csv --dry-run
  asyncgg disassociate fleet.jsonl.gz --rate 10 --protect never.txt --abort-at 10
  asyncgg disassociate - --yes --json < fleet.csv > summary.json
  asyncgg disassociate s3://bucket/fleet.parquet --expect-account 123456789012
"""


@with_options(GUARDS, CONNECTION, LIMITS, MANIFEST, JOURNAL, OUTPUT, (CONFIG,))
def command(
    manifest: ManifestSpec,
    **given: Any,
) -> int:
    """Plan, confirm, run: disassociate every thing of a manifest."""
    from asyncgg.cli.order import Order, disassociate
    from asyncgg.cli.running import finish

    settings = load_settings(given_settings(given), config=given["config"])
    order = Order(
        manifest=manifest,
        yes=bool(given["yes"]),
        dry_run=bool(given["dry_run"]),
        format=given["format"],
        rejects=given["rejects"],
    )
    output = Output(as_json=bool(given["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")
    ended = disassociate(order, settings, output)
    return 0 if ended is None else finish(output, *ended)
