"""Rule: the names the rest of asyncgg may use of clean-up policies are listed here; nothing is defined here.

`asyncgg.cleanup.iot_open` is left out: it imports all of aiobotocore, which `cleanup --check` does not need.
"""

from asyncgg.cleanup.explain import Explanation, explain
from asyncgg.cleanup.keep import load_lists
from asyncgg.cleanup.policy import Guards, IotLimits, Notify, Policy, Ramp, Sources, State
from asyncgg.cleanup.policy_faults import Fault
from asyncgg.cleanup.policy_file import Checked, check_policy, load_policy
from asyncgg.cleanup.questions import Questions, QuestionStatistics, Registry
from asyncgg.cleanup.rules import Candidate
from asyncgg.cleanup.select import Decision, Verdict, decide, select

__all__ = [
    "Candidate",
    "Checked",
    "Decision",
    "Explanation",
    "Fault",
    "Guards",
    "IotLimits",
    "Notify",
    "Policy",
    "QuestionStatistics",
    "Questions",
    "Ramp",
    "Registry",
    "Sources",
    "State",
    "Verdict",
    "check_policy",
    "decide",
    "explain",
    "load_lists",
    "load_policy",
    "select",
]
