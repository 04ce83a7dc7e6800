"""Restores settings, Region and endpoint of a run from its journal."""

# A later start uses the Region and endpoint of the first one, whatever the environment says. Only
# an explicit option of this start overrides them.

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from asyncgg.errors import UsageError
from asyncgg.runs.account import connection_from_settings
from asyncgg.settings import Settings, build_settings
from asyncgg.transport import Endpoint, resolve_endpoint

_NOT_SAVED: Final = frozenset({"quiet", "log_format", "journal"})
"""Settings that later starts do not inherit: output and the journal itself."""


def restore_settings(
    saved: Mapping[str, Any],
    meta: Mapping[str, str],
    overrides: Mapping[str, Any],
    *,
    exclude: frozenset[str] = frozenset(),
) -> Settings:
    """The `saved` settings of a journal, its Region and endpoint (from `meta`), and `overrides`.

    Settings in `exclude` are not inherited. Raises `SettingsError` for an invalid value.
    """
    values = {name: value for name, value in saved.items() if name not in _NOT_SAVED | exclude}
    if meta.get("region"):
        values["region"] = meta["region"]
    if _has_custom_endpoint(meta):
        values["endpoint_url"] = meta["endpoint"]
    return build_settings(values, overrides)


def resolve_saved_endpoint(settings: Settings, meta: Mapping[str, str], overrides: Mapping[str, Any]) -> Endpoint:
    """Where requests go. Raises `UsageError` if the environment alone selects another endpoint."""
    target = resolve_endpoint(connection_from_settings(settings))
    if target.custom and not _has_custom_endpoint(meta) and not overrides.get("endpoint_url"):
        raise UsageError(
            f"the run was started at {meta.get('endpoint', 'the AWS endpoint')}, but {target.source} sets {target.url};"
            f" unset {target.source}, or use --endpoint-url"
        )
    return target


def require_same_region(meta: Mapping[str, str], overrides: Mapping[str, Any]) -> None:
    """Raise `UsageError` if `overrides` select another Region than that of the run.

    In another Region the cores of the run do not exist, or others have their names.
    """
    saved_region, requested_region = meta.get("region", ""), overrides.get("region") or ""
    if saved_region and requested_region and requested_region != saved_region:
        raise UsageError(f"the run was started in Region {saved_region}, not {requested_region}; omit --region")


def _has_custom_endpoint(meta: Mapping[str, str]) -> bool:
    return bool(json.loads(meta.get("custom", "false")))
