"""Rule: what another start, or an undo, takes over from a journal lives here: settings, Region, endpoint.

A start cannot wander: it goes where the run was begun, whatever the environment says now. Only what is given for this
very start changes that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from asyncgg.errors import UsageError
from asyncgg.runs.execute import connection_from_settings
from asyncgg.settings import Settings, build_settings
from asyncgg.transport import Endpoint, resolve_endpoint

__all__ = ["require_same_region", "resolve_saved_endpoint", "restore_settings"]

_NOT_SAVED: Final = frozenset({"quiet", "log_format", "journal"})
"""Settings that later starts do not inherit: how the first one showed itself."""


def restore_settings(
    saved: Mapping[str, Any],
    meta: Mapping[str, str],
    overrides: Mapping[str, Any],
    *,
    exclude: frozenset[str] = frozenset(),
) -> Settings:
    """The `stored` settings of a journal, its Region and endpoint (from `meta`) among them, under what is `given` now.

    Those named in `without` are not inherited. Raises `SettingsError` for an impossible value.
    """
    values = {name: value for name, value in saved.items() if name not in _NOT_SAVED | exclude}
    if meta.get("region"):
        values["region"] = meta["region"]
    if _has_custom_endpoint(meta):
        values["endpoint_url"] = meta["endpoint"]
    return build_settings(values, overrides)


def resolve_saved_endpoint(settings: Settings, meta: Mapping[str, str], overrides: Mapping[str, Any]) -> Endpoint:
    """Where requests go. Raises `UsageError` when the environment alone would lead them away from AWS."""
    target = resolve_endpoint(connection_from_settings(settings))
    if target.custom and not _has_custom_endpoint(meta) and not overrides.get("endpoint_url"):
        raise UsageError(
            f"this run was begun at {meta.get('endpoint', 'AWS itself')}, but {target.source} now names"
            f" {target.url}; unset it, or give --endpoint-url to go there"
        )
    return target


def require_same_region(meta: Mapping[str, str], overrides: Mapping[str, Any]) -> None:
    """Raise `UsageError` when another Region is `given` than the journal's run had.

    What a run changed is in its Region: elsewhere its cores look as if they had vanished, or others have their names.
    """
    saved_region, requested_region = meta.get("region", ""), overrides.get("region") or ""
    if saved_region and requested_region and requested_region != saved_region:
        raise UsageError(
            f"this run was begun in {saved_region}, and what it changed is there, not in {requested_region}: leave --region out"
        )


def _has_custom_endpoint(meta: Mapping[str, str]) -> bool:
    return bool(json.loads(meta.get("custom", "false")))
