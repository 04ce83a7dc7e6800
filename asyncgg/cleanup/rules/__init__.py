"""Rule: the names the rest of asyncgg may use of clean-up rules are listed here; nothing is defined here.

The whole folder is pure: a rule is a function of a candidate, of what is known, and of the time it is given.
"""

from asyncgg.cleanup.rules.answer import Answer
from asyncgg.cleanup.rules.asked import IndexQuery, ThingAttribute, ThingGroup, ThingMissing, ThingType
from asyncgg.cleanup.rules.base import Api, Candidate, Condition, Described, Ground, Known, NoAnswer, SetQuestion
from asyncgg.cleanup.rules.offline import AssociatedBefore, CoreSilentFor, CoreStatus, Name, NotIn, Pattern
from asyncgg.cleanup.rules.tree import (
    AllOf,
    AnyOf,
    Finding,
    Named,
    Negation,
    Node,
    conditions,
    deciding,
    examine,
    reason,
)

__all__ = [
    "AllOf",
    "Answer",
    "AnyOf",
    "Api",
    "AssociatedBefore",
    "Candidate",
    "Condition",
    "CoreSilentFor",
    "CoreStatus",
    "Described",
    "Finding",
    "Ground",
    "IndexQuery",
    "Known",
    "Name",
    "Named",
    "Negation",
    "NoAnswer",
    "Node",
    "NotIn",
    "Pattern",
    "SetQuestion",
    "ThingAttribute",
    "ThingGroup",
    "ThingMissing",
    "ThingType",
    "conditions",
    "deciding",
    "examine",
    "reason",
]
