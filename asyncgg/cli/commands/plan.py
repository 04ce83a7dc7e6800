"""The `asyncgg plan` command."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from asyncgg.cli import options
from asyncgg.cli.context import CommandContext
from asyncgg.errors import UsageError

_EPILOG = """
\b
Examples:
  asyncgg plan fleet.csv
  asyncgg plan fleet.csv --quota-share 0.5 --protect never.txt
  asyncgg plan fleet.csv --skip-bad-rows --rejects bad.csv --json
  asyncgg plan --things gone.txt --inventory fleet.db

plan does not scan: --things, --cores and --core require --inventory with a complete snapshot, which
`asyncgg inventory` makes.
"""


@options.make_command(
    options.MANIFEST_ARGUMENT,
    options.LOOKUP,
    options.without(options.GUARDS, "yes", "dry_run"),
    options.CONNECTION,
    options.LIMITS,
    options.MANIFEST,
    options.OUTPUT,
    options.CONFIG,
    epilog=_EPILOG,
)
def command(manifest: str | None, **arguments: Any) -> int:
    """Show what a run would do: things, cores, requests and the time at the quota.

    Sends nothing to Greengrass; needs neither credentials nor a Region.
    """
    from asyncgg.cli.plan_view import format_plan, plan_to_dict
    from asyncgg.cli.signals import raise_on_signal
    from asyncgg.cli.sources import build_from_manifest, parse_lookup, prepare_lookup
    from asyncgg.cli.workflow import attach_account
    from asyncgg.transport import NoRegionError

    context = CommandContext.load(arguments)
    lookup = parse_lookup(manifest, arguments)
    if lookup is not None and lookup.inventory is None:
        raise UsageError(
            "plan does not scan: give --inventory with a complete snapshot"
            " (made by `asyncgg inventory --out FILE`), or use `asyncgg disassociate --dry-run`"
        )
    with raise_on_signal(), tempfile.TemporaryDirectory(prefix="asyncgg-plan-") as folder:
        endpoint, unknown_reason = None, ""
        try:
            endpoint = context.resolve_endpoint()
        except NoRegionError as error:
            unknown_reason = str(error)
        journal = Path(folder) / "plan.journal"
        if lookup is not None and lookup.inventory is not None:
            request = lookup.build_request(lookup.inventory)
            builder, plan = prepare_lookup(request, journal, context, endpoint, account_required=False)
        else:
            builder, plan = build_from_manifest(
                manifest or "", journal, context, endpoint, format=arguments["format"], rejects=arguments["rejects"]
            )
        builder.discard()
        plan, _ = attach_account(plan, endpoint, context, required=False, unknown_reason=unknown_reason)
    context.console.write_result(plan_to_dict(plan), format_plan(plan))
    return 0
