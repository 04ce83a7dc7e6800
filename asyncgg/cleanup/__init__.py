"""Rule: the names the rest of asyncgg may use of clean-up policies are listed here; nothing is defined here.

`asyncgg.cleanup.iot_open` is left out: it imports all of aiobotocore, which `cleanup --check` does not need.
"""

from asyncgg.cleanup.explain import Explanation, explain
from asyncgg.cleanup.keep import read_keep_lists
from asyncgg.cleanup.policy import IotLimits, NotifyConfig, Policy, RampConfig, SafetyLimits, Sources, StateConfig
from asyncgg.cleanup.policy_faults import Diagnostic
from asyncgg.cleanup.policy_file import PolicyCheck, check_policy, load_policy
from asyncgg.cleanup.questions import RegistryCache, RegistryStatistics, ThingRegistry
from asyncgg.cleanup.rules import Candidate
from asyncgg.cleanup.select import Decision, Disposition, decide_candidate, decide_chunks

__all__ = [
    "Candidate",
    "PolicyCheck",
    "Decision",
    "Explanation",
    "Diagnostic",
    "SafetyLimits",
    "IotLimits",
    "NotifyConfig",
    "Policy",
    "RegistryStatistics",
    "RegistryCache",
    "RampConfig",
    "ThingRegistry",
    "Sources",
    "StateConfig",
    "Disposition",
    "check_policy",
    "decide_candidate",
    "explain",
    "read_keep_lists",
    "load_policy",
    "decide_chunks",
]
