"""Rule: a plan is a run's preparation in a temporary folder; it needs neither credentials nor a Region, and sends
nothing to Greengrass.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from asyncgg.cli.account import with_account
from asyncgg.cli.importing import import_manifest
from asyncgg.cli.output import Output
from asyncgg.cli.planning import plan_lines, plan_object
from asyncgg.cli.signals import interrupting
from asyncgg.errors import UsageError
from asyncgg.runs.execute import connection_of
from asyncgg.settings import Settings
from asyncgg.transport import Target, resolve

__all__ = ["planned"]


def planned(
    manifest: str,
    settings: Settings,
    output: Output,
    *,
    format: str | None = None,  # noqa: A002 - named as the option is
    rejects: Path | None = None,
) -> int:
    """Write the plan of `manifest` as the result; the exit code. Errors as of a run, guards included."""
    with interrupting(), tempfile.TemporaryDirectory(prefix="asyncgg-plan-") as folder:
        target, unknown = _target(settings)
        _, plan = import_manifest(
            manifest,
            Path(folder) / "plan.journal",
            settings,
            target,
            output,
            format=format,
            rejects=rejects,
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
