"""Clean-up policies: rules that select associations, and the decisions about them."""

from asyncgg.cleanup.explain import Explanation, explain
from asyncgg.cleanup.keep_lists import read_keep_lists
from asyncgg.cleanup.policy.diagnostics import Diagnostic
from asyncgg.cleanup.policy.loader import PolicyCheck, check_policy, load_policy
from asyncgg.cleanup.policy.model import IotLimits, NotifyConfig, Policy, RampConfig, SafetyLimits, Sources, StateConfig
from asyncgg.cleanup.registry_cache import RegistryCache, RegistryStatistics, ThingRegistry
from asyncgg.cleanup.rules.base import Candidate
from asyncgg.cleanup.select import Decision, Disposition, decide_candidate, decide_chunks

__all__ = [
    "Candidate",
    "Decision",
    "Diagnostic",
    "Disposition",
    "Explanation",
    "IotLimits",
    "NotifyConfig",
    "Policy",
    "PolicyCheck",
    "RampConfig",
    "RegistryCache",
    "RegistryStatistics",
    "SafetyLimits",
    "Sources",
    "StateConfig",
    "ThingRegistry",
    "check_policy",
    "decide_candidate",
    "decide_chunks",
    "explain",
    "load_policy",
    "read_keep_lists",
]
