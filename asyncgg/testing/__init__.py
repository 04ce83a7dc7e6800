"""Test tools for programs that use asyncgg: virtual time and a fake service."""

from asyncgg.service_limiters import LimiterKind, LimiterSpec
from asyncgg.testing.clock import DeadlockError, VirtualLoop, run_virtual
from asyncgg.testing.fake_service import FakeService, FixedRate, ReceivedRequest
from asyncgg.testing.scenario import JitteredLatency, Latency, RecordedLatency, Scenario, ScenarioFault, ScheduledChange

__all__ = [
    "DeadlockError",
    "FakeService",
    "FixedRate",
    "JitteredLatency",
    "Latency",
    "LimiterKind",
    "LimiterSpec",
    "ReceivedRequest",
    "RecordedLatency",
    "Scenario",
    "ScenarioFault",
    "ScheduledChange",
    "VirtualLoop",
    "run_virtual",
]
