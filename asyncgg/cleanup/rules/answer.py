"""Rule: the three answers of a rule, and how they combine, live here (Kleene's strong logic of three values). Pure.

What makes it safe: an answer that becomes known never changes a combination that was already definite. So a selection
decided early stays right, and replacing any answer by UNKNOWN can only take things out of the selection.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

__all__ = ["Answer"]


class Answer(Enum):
    """What a rule says of one candidate; only a definite YES ever selects."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    """The answer could not be had, or has not been asked for yet."""

    def negated(self) -> Answer:
        """The answer of `not`: doubt stays doubt."""
        return _NEGATED[self]

    @staticmethod
    def all_of(answers: Iterable[Answer]) -> Answer:
        """NO if one says so, else UNKNOWN if one says so, else YES."""
        return _settled(answers, Answer.NO, Answer.YES)

    @staticmethod
    def any_of(answers: Iterable[Answer]) -> Answer:
        """YES if one says so, else UNKNOWN if one says so, else NO."""
        return _settled(answers, Answer.YES, Answer.NO)


_NEGATED = {Answer.YES: Answer.NO, Answer.NO: Answer.YES, Answer.UNKNOWN: Answer.UNKNOWN}


def _settled(answers: Iterable[Answer], final: Answer, otherwise: Answer) -> Answer:
    doubt = False
    for answer in answers:
        if answer is final:
            return final
        doubt = doubt or answer is Answer.UNKNOWN
    return Answer.UNKNOWN if doubt else otherwise
