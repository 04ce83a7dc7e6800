"""Rule: `asyncgg plan`: the same preparation as `disassociate`, in a temporary folder; needs neither credentials nor a
Region, and sends nothing to Greengrass.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from asyncgg.cli.account import with_account
from asyncgg.cli.importing import import_manifest
from asyncgg.cli.options import (
    CONFIG,
    CONNECTION,
    GUARDS,
    LIMITS,
    MANIFEST,
    OUTPUT,
    ManifestSpec,
    given_settings,
    with_options,
)
from asyncgg.cli.output import Output
from asyncgg.cli.planning import plan_lines, plan_object
from asyncgg.cli.signals import interrupting
from asyncgg.errors import UsageError
from asyncgg.runs.execute import connection_of
from asyncgg.settings import Settings, load_settings
from asyncgg.transport import Target, resolve

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """
\b
Examples:
  asyncgg plan fleet.csv
  asyncgg plan fleet.csv --quota-share 0.5 --protect never.txt
  asyncgg plan fleet.csv --skip-bad-rows --rejects bad.csv --json
"""

_GUARDS = [option for option in GUARDS if option.name not in {"yes", "dry_run"}]


@with_options(_GUARDS, CONNECTION, LIMITS, MANIFEST, OUTPUT, (CONFIG,))
def command(
    manifest: ManifestSpec,
    **given: Any,
) -> int:
    """Say what would be done: things, cores, requests, time at the quota. Sends nothing."""
    settings = load_settings(given_settings(given), config=given["config"])
    output = Output(as_json=bool(given["json"]), quiet=settings.quiet, log_json=settings.log_format == "json")
    with interrupting(), tempfile.TemporaryDirectory(prefix="asyncgg-plan-") as folder:
        target, unknown = _target(settings)
        _, plan = import_manifest(
            manifest,
            Path(folder) / "plan.journal",
            settings,
            target,
            output,
            format=given["format"],
            rejects=given["rejects"],
        )
        plan, _ = with_account(plan, target, settings, must_act=False, unknown=unknown)
    output.result(plan_object(plan), plan_lines(plan))
    return 0


def _target(settings: Settings) -> tuple[Target | None, str]:
    """Where it would go, or None and why that is not known; what was asked for by name must be usable."""
    try:
        return resolve(connection_of(settings)), ""
    except UsageError as error:
        if settings.profile or settings.region or settings.endpoint_url:
            raise
        return None, str(error)
