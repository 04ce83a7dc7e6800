"""Rule: the names the rest of asyncgg may use of clean-up rules are listed here; nothing is defined here.

The whole folder is pure: a rule is a function of a candidate, of what is known, and of the time it is given.
"""

from asyncgg.cleanup.rules.answer import Ternary
from asyncgg.cleanup.rules.asked import IndexQuery, ThingAttribute, ThingGroup, ThingMissing, ThingType
from asyncgg.cleanup.rules.base import (
    Api,
    Candidate,
    Condition,
    ConditionKind,
    Facts,
    QueryFailed,
    SetQuery,
    ThingDescription,
)
from asyncgg.cleanup.rules.offline import AssociatedBefore, CoreOfflineFor, CoreStatus, NotIn, Pattern, ThingName
from asyncgg.cleanup.rules.tree import (
    AllOf,
    AnyOf,
    Evaluation,
    Node,
    Not,
    Rule,
    deciding_conditions,
    evaluate,
    format_reason,
    iter_conditions,
)

__all__ = [
    "AllOf",
    "Ternary",
    "AnyOf",
    "Api",
    "AssociatedBefore",
    "Candidate",
    "Condition",
    "CoreOfflineFor",
    "CoreStatus",
    "ThingDescription",
    "Evaluation",
    "ConditionKind",
    "IndexQuery",
    "Facts",
    "ThingName",
    "Rule",
    "Not",
    "QueryFailed",
    "Node",
    "NotIn",
    "Pattern",
    "SetQuery",
    "ThingAttribute",
    "ThingGroup",
    "ThingMissing",
    "ThingType",
    "iter_conditions",
    "deciding_conditions",
    "evaluate",
    "format_reason",
]
