"""Rule: a plan is a run's preparation in a temporary folder; it needs neither credentials nor a Region, and sends
nothing to Greengrass.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from asyncgg.cli.account import attach_account
from asyncgg.cli.console import Console
from asyncgg.cli.importing import build_from_manifest
from asyncgg.cli.plan_view import format_plan, plan_to_dict
from asyncgg.cli.signals import raise_on_signal
from asyncgg.cli.sources import LookupArguments, prepare_lookup
from asyncgg.errors import UsageError
from asyncgg.runs import JournalBuilder, Plan
from asyncgg.runs.execute import connection_from_settings
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint, resolve_endpoint

__all__ = ["plan_lookup", "plan_manifest"]


def plan_manifest(
    manifest: str,
    settings: Settings,
    console: Console,
    *,
    format: str | None = None,  # noqa: A002 - named as the option is
    rejects: Path | None = None,
) -> int:
    """Write the plan of `manifest` as the result; the exit code. Errors as of a run, guards included."""

    def prepare(journal: Path, endpoint: Endpoint | None) -> tuple[JournalBuilder, Plan]:
        return build_from_manifest(manifest, journal, settings, endpoint, console, format=format, rejects=rejects)

    return _write_plan(prepare, settings, console)


def plan_lookup(lookup: LookupArguments, settings: Settings, console: Console) -> int:
    """The same of what is looked up in a snapshot. It must be there and finished: a plan asks the service nothing."""
    inventory = lookup.inventory
    if inventory is None:
        raise UsageError(
            "a plan sends nothing, so it cannot sweep: give --inventory FILE, a finished snapshot"
            " (asyncgg inventory --out FILE makes one; asyncgg disassociate --dry-run sweeps by itself)"
        )

    def prepare(journal: Path, endpoint: Endpoint | None) -> tuple[JournalBuilder, Plan]:
        return prepare_lookup(lookup.build_request(inventory), journal, settings, endpoint, account_required=False)

    return _write_plan(prepare, settings, console)


def _write_plan(
    prepare: Callable[[Path, Endpoint | None], tuple[JournalBuilder, Plan]], settings: Settings, console: Console
) -> int:
    with raise_on_signal(), tempfile.TemporaryDirectory(prefix="asyncgg-plan-") as folder:
        endpoint, unknown_reason = _try_resolve_endpoint(settings)
        _, plan = prepare(Path(folder) / "plan.journal", endpoint)
        plan, _ = attach_account(plan, endpoint, settings, required=False, unknown_reason=unknown_reason)
    console.write_result(plan_to_dict(plan), format_plan(plan))
    return 0


def _try_resolve_endpoint(settings: Settings) -> tuple[Endpoint | None, str]:
    """Where it would go, or None and why that is not known; what was asked for by name must be usable."""
    try:
        return resolve_endpoint(connection_from_settings(settings)), ""
    except UsageError as error:
        if settings.profile or settings.region or settings.endpoint_url:
            raise
        return None, str(error)
