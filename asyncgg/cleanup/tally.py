"""Rule: how many were chosen, of how many, and whether that is too many, is counted and decided here. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from asyncgg.cleanup.policy.model import SafetyLimits
from asyncgg.cleanup.select import Decision, Disposition

__all__ = ["DecisionCounts"]

_MAX_CORES_LISTED: Final = 3


class DecisionCounts:
    """The decisions of one night, counted."""

    def __init__(self) -> None:
        self.by_disposition: Counter[Disposition] = Counter()
        self.reasons: Counter[str] = Counter()
        """Why things go."""
        self._examined_by_core: Counter[str] = Counter()
        self._selected_by_core: Counter[str] = Counter()

    def add(self, decision: Decision) -> None:
        """Count one."""
        self.by_disposition[decision.disposition] += 1
        if decision.disposition is not Disposition.OUTSIDE:
            self._examined_by_core[decision.core] += 1
        if decision.selected:
            self.reasons[decision.reason] += 1
            self._selected_by_core[decision.core] += 1

    @property
    def selected(self) -> int:
        """How many go."""
        return self.by_disposition[Disposition.SELECTED]

    @property
    def examined(self) -> int:
        """Of how many, those on cores outside the sources not counted."""
        return self.by_disposition.total() - self.by_disposition[Disposition.OUTSIDE]

    def limit_violations(self, guards: SafetyLimits) -> Iterator[str]:
        """Why these are too many, if they are."""
        selected, examined = self.selected, self.examined
        if guards.max_things is not None and selected > guards.max_things:
            yield f"{selected:,} things are selected, max-things allows {guards.max_things:,}"
        if guards.max_percent is not None and 100 * selected > guards.max_percent * examined:
            yield (
                f"{selected:,} of {examined:,} things are selected ({_percent(selected, examined)}),"
                f" max-percent allows {guards.max_percent:g} %"
            )
        if guards.max_percent_per_core is not None:
            limit = guards.max_percent_per_core
            exceeded = [
                core
                for core, count in self._selected_by_core.items()
                if 100 * count > limit * self._examined_by_core[core]
            ]
            if exceeded:
                listed = ", ".join(
                    f"{core} ({self._selected_by_core[core]:,} of {self._examined_by_core[core]:,})"
                    for core in sorted(exceeded)[:_MAX_CORES_LISTED]
                )
                suffix = f" and {len(exceeded) - _MAX_CORES_LISTED:,} more" if len(exceeded) > _MAX_CORES_LISTED else ""
                yield f"max-percent-per-core allows {limit:g} % of a core's things; more are selected of {listed}{suffix}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON says it."""
        return {
            "examined": self.examined,
            **{disposition.value: self.by_disposition[disposition] for disposition in Disposition},
            "reasons": dict(self.reasons.most_common()),
        }


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0 %"
