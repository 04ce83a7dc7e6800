"""Rule: the names the rest of asyncgg may use of clean-up rules are listed here; nothing is defined here.

The whole folder is pure: a rule is a function of a candidate, of what is known, and of the time it is given.
"""

from asyncgg.cleanup.rules.answer import Ternary
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
from asyncgg.cleanup.rules.expression import (
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
from asyncgg.cleanup.rules.local_conditions import (
    AssociatedBefore,
    CoreOfflineFor,
    CoreStatus,
    NotIn,
    Pattern,
    ThingName,
)
from asyncgg.cleanup.rules.registry_conditions import IndexQuery, ThingAttribute, ThingGroup, ThingMissing, ThingType

__all__ = [
    "AllOf",
    "AnyOf",
    "Api",
    "AssociatedBefore",
    "Candidate",
    "Condition",
    "ConditionKind",
    "CoreOfflineFor",
    "CoreStatus",
    "Evaluation",
    "Facts",
    "IndexQuery",
    "Node",
    "Not",
    "NotIn",
    "Pattern",
    "QueryFailed",
    "Rule",
    "SetQuery",
    "Ternary",
    "ThingAttribute",
    "ThingDescription",
    "ThingGroup",
    "ThingMissing",
    "ThingName",
    "ThingType",
    "deciding_conditions",
    "evaluate",
    "format_reason",
    "iter_conditions",
]
