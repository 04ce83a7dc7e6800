"""Rule: the three answers of a rule, and how they combine, live here (Kleene's strong logic of three values). Pure.

What makes it safe: an answer that becomes known never changes a combination that was already definite. So a selection
decided early stays right, and replacing any answer by UNKNOWN can only take things out of the selection.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

__all__ = ["Ternary"]


class Ternary(Enum):
    """What a rule says of one candidate; only a definite YES ever selects."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    """The answer could not be had, or has not been asked for yet."""

    def negated(self) -> Ternary:
        """The answer of `not`: doubt stays doubt."""
        return _NEGATED[self]

    @staticmethod
    def all_of(values: Iterable[Ternary]) -> Ternary:
        """NO if one says so, else UNKNOWN if one says so, else YES."""
        return _combine(values, Ternary.NO, Ternary.YES)

    @staticmethod
    def any_of(values: Iterable[Ternary]) -> Ternary:
        """YES if one says so, else UNKNOWN if one says so, else NO."""
        return _combine(values, Ternary.YES, Ternary.NO)


_NEGATED = {Ternary.YES: Ternary.NO, Ternary.NO: Ternary.YES, Ternary.UNKNOWN: Ternary.UNKNOWN}


def _combine(values: Iterable[Ternary], absorbing: Ternary, default: Ternary) -> Ternary:
    has_unknown = False
    for value in values:
        if value is absorbing:
            return absorbing
        has_unknown = has_unknown or value is Ternary.UNKNOWN
    return Ternary.UNKNOWN if has_unknown else default
