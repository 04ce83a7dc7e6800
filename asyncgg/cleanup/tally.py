"""Rule: how many were chosen, of how many, and whether that is too many, is counted and decided here. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from asyncgg.cleanup.policy import Guards
from asyncgg.cleanup.select import Decision, Verdict

__all__ = ["Tally"]

_CORES_SHOWN: Final = 3


class Tally:
    """The decisions of one night, counted."""

    def __init__(self) -> None:
        self.verdicts: Counter[Verdict] = Counter()
        self.reasons: Counter[str] = Counter()
        """Why things go."""
        self._of_core: Counter[str] = Counter()
        self._chosen_of_core: Counter[str] = Counter()

    def add(self, decision: Decision) -> None:
        """Count one."""
        self.verdicts[decision.verdict] += 1
        if decision.verdict is not Verdict.OUTSIDE:
            self._of_core[decision.core] += 1
        if decision.selected:
            self.reasons[decision.reason] += 1
            self._chosen_of_core[decision.core] += 1

    @property
    def selected(self) -> int:
        """How many go."""
        return self.verdicts[Verdict.SELECTED]

    @property
    def looked_at(self) -> int:
        """Of how many, those on cores outside the sources not counted."""
        return self.verdicts.total() - self.verdicts[Verdict.OUTSIDE]

    def refusals(self, guards: Guards) -> Iterator[str]:
        """Why these are too many, if they are."""
        chosen, all_of_them = self.selected, self.looked_at
        if guards.max_things is not None and chosen > guards.max_things:
            yield f"{chosen:,} things are selected, max-things allows {guards.max_things:,}"
        if guards.max_percent is not None and 100 * chosen > guards.max_percent * all_of_them:
            yield (
                f"{chosen:,} of {all_of_them:,} things are selected ({_percent(chosen, all_of_them)}),"
                f" max-percent allows {guards.max_percent:g} %"
            )
        if guards.max_percent_per_core is not None:
            limit = guards.max_percent_per_core
            over = [core for core, count in self._chosen_of_core.items() if 100 * count > limit * self._of_core[core]]
            if over:
                shown = ", ".join(
                    f"{core} ({self._chosen_of_core[core]:,} of {self._of_core[core]:,})"
                    for core in sorted(over)[:_CORES_SHOWN]
                )
                more = f" and {len(over) - _CORES_SHOWN:,} more" if len(over) > _CORES_SHOWN else ""
                yield f"max-percent-per-core allows {limit:g} % of a core's things; more are selected of {shown}{more}"

    def document(self) -> dict[str, Any]:
        """As JSON says it."""
        return {
            "looked_at": self.looked_at,
            **{verdict.value: self.verdicts[verdict] for verdict in Verdict},
            "reasons": dict(self.reasons.most_common()),
        }


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0 %"
