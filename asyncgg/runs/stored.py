"""Rule: what another start, or an undo, takes over from a journal lives here: settings, Region, endpoint.

A start cannot wander: it goes where the run was begun, whatever the environment says now. Only what is given for this
very start changes that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from asyncgg.errors import UsageError
from asyncgg.runs.execute import connection_of
from asyncgg.settings import Settings, build_settings
from asyncgg.transport import Endpoint, resolve_endpoint

__all__ = ["inherited", "refuse_elsewhere", "target_of"]

_OF_ONE_START: Final = frozenset({"quiet", "log_format", "journal"})
"""Settings that later starts do not inherit: how the first one showed itself."""


def inherited(
    stored: Mapping[str, Any],
    meta: Mapping[str, str],
    given: Mapping[str, Any],
    *,
    without: frozenset[str] = frozenset(),
) -> Settings:
    """The `stored` settings of a journal, its Region and endpoint (from `meta`) among them, under what is `given` now.

    Those named in `without` are not inherited. Raises `SettingsError` for an impossible value.
    """
    own = {name: value for name, value in stored.items() if name not in _OF_ONE_START | without}
    if meta.get("region"):
        own["region"] = meta["region"]
    if _custom(meta):
        own["endpoint_url"] = meta["endpoint"]
    return build_settings(own, given)


def target_of(settings: Settings, meta: Mapping[str, str], given: Mapping[str, Any]) -> Endpoint:
    """Where requests go. Raises `UsageError` when the environment alone would lead them away from AWS."""
    target = resolve_endpoint(connection_of(settings))
    if target.custom and not _custom(meta) and not given.get("endpoint_url"):
        raise UsageError(
            f"this run was begun at {meta.get('endpoint', 'AWS itself')}, but {target.source} now names"
            f" {target.url}; unset it, or give --endpoint-url to go there"
        )
    return target


def refuse_elsewhere(meta: Mapping[str, str], given: Mapping[str, Any]) -> None:
    """Raise `UsageError` when another Region is `given` than the journal's run had.

    What a run changed is in its Region: elsewhere its cores look as if they had vanished, or others have their names.
    """
    there, here = meta.get("region", ""), given.get("region") or ""
    if there and here and here != there:
        raise UsageError(
            f"this run was begun in {there}, and what it changed is there, not in {here}: leave --region out"
        )


def _custom(meta: Mapping[str, str]) -> bool:
    return bool(json.loads(meta.get("custom", "false")))
