"""Rule: a plan is a run's preparation in a temporary folder; it needs neither credentials nor a Region, and sends
nothing to Greengrass.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from asyncgg.cli.account import with_account
from asyncgg.cli.finding import Asked, look_up
from asyncgg.cli.importing import import_manifest
from asyncgg.cli.output import Output
from asyncgg.cli.planning import plan_lines, plan_object
from asyncgg.cli.signals import interrupting
from asyncgg.errors import UsageError
from asyncgg.runs import JournalBuilder, Plan
from asyncgg.runs.execute import connection_from_settings
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint, resolve_endpoint

__all__ = ["planned", "planned_of_snapshot"]


def planned(
    manifest: str,
    settings: Settings,
    output: Output,
    *,
    format: str | None = None,  # noqa: A002 - named as the option is
    rejects: Path | None = None,
) -> int:
    """Write the plan of `manifest` as the result; the exit code. Errors as of a run, guards included."""

    def prepare(journal: Path, target: Endpoint | None) -> tuple[JournalBuilder, Plan]:
        return import_manifest(manifest, journal, settings, target, output, format=format, rejects=rejects)

    return _planned(prepare, settings, output)


def planned_of_snapshot(asked: Asked, settings: Settings, output: Output) -> int:
    """The same of what is looked up in a snapshot. It must be there and finished: a plan asks the service nothing."""
    inventory = asked.inventory
    if inventory is None:
        raise UsageError(
            "a plan sends nothing, so it cannot sweep: give --inventory FILE, a finished snapshot"
            " (asyncgg inventory --out FILE makes one; asyncgg disassociate --dry-run sweeps by itself)"
        )

    def prepare(journal: Path, target: Endpoint | None) -> tuple[JournalBuilder, Plan]:
        return look_up(asked.search(inventory), journal, settings, target, must_act=False)

    return _planned(prepare, settings, output)


def _planned(
    prepare: Callable[[Path, Endpoint | None], tuple[JournalBuilder, Plan]], settings: Settings, output: Output
) -> int:
    with interrupting(), tempfile.TemporaryDirectory(prefix="asyncgg-plan-") as folder:
        target, unknown = _target(settings)
        _, plan = prepare(Path(folder) / "plan.journal", target)
        plan, _ = with_account(plan, target, settings, must_act=False, unknown=unknown)
    output.result(plan_object(plan), plan_lines(plan))
    return 0


def _target(settings: Settings) -> tuple[Endpoint | None, str]:
    """Where it would go, or None and why that is not known; what was asked for by name must be usable."""
    try:
        return resolve_endpoint(connection_from_settings(settings)), ""
    except UsageError as error:
        if settings.profile or settings.region or settings.endpoint_url:
            raise
        return None, str(error)
