"""Aids for testing code and settings that are built on asyncgg: virtual time, and a service that plays a script.

Rule: nothing else of the package may import them, but for what is about trials itself (`asyncgg.tuning`).
"""

from asyncgg.testing.clock import DeadlockError, VirtualLoop, run_virtual
from asyncgg.testing.fake_service import FakeService, ReceivedRequest
from asyncgg.testing.scenario import JitteredLatency, Latency, RecordedLatency, Scenario, ScenarioFault, ScheduledChange

__all__ = [
    "DeadlockError",
    "FakeService",
    "JitteredLatency",
    "Latency",
    "ReceivedRequest",
    "RecordedLatency",
    "Scenario",
    "ScenarioFault",
    "ScheduledChange",
    "VirtualLoop",
    "run_virtual",
]
