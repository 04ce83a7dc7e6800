"""The options of a decommission, which its journal keeps for later commands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Self

DEFAULT_AGE: Final = 86_400.0
"""Seconds: a core device asks once a day which of its devices may still connect offline
[AWS IoT Greengrass developer guide, Offline authentication]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecommissionOptions:
    """What the options of the command line allow; their help explains them."""

    connected_within: float = DEFAULT_AGE
    allow_unknown_connectivity: bool = False
    allow_shared: tuple[str, ...] = ()
    canary: int = 0
    max_percent: float | None = None
    iot_quota: tuple[str, ...] = ()
    delete_certificates: bool = False
    delete_shadows: bool = False
    skip_shadows: bool = False

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Those that `to_json` saved; what is missing has its default."""
        saved = json.loads(text)
        return cls().override(
            {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
        )

    def to_json(self) -> str:
        """As text for the journal."""
        return json.dumps(asdict(self))

    def override(self, given: Mapping[str, Any]) -> Self:
        """With those of `given` that are set; a switch can be turned on only."""
        names = {item.name for item in fields(self)}
        is_set = {name: value for name, value in given.items() if value is not None and value is not False}
        return replace(self, **{name: value for name, value in is_set.items() if name in names and value != ()})
