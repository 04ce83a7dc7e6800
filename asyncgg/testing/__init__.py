"""Aids for testing code and settings that are built on asyncgg: virtual time, and a service that plays a script.

Rule: nothing else of the package may import them, but for what is about trials itself (`asyncgg.tuning`).
"""

from asyncgg.testing.clock import DeadlockError, VirtualLoop, run_virtual
from asyncgg.testing.script import JitteredLatency, Latency, RecordedLatency, Scenario, ScenarioFault, ScheduledChange
from asyncgg.testing.service import FakeService, ReceivedRequest

__all__ = [
    "ReceivedRequest",
    "DeadlockError",
    "ScenarioFault",
    "Latency",
    "RecordedLatency",
    "Scenario",
    "FakeService",
    "JitteredLatency",
    "ScheduledChange",
    "VirtualLoop",
    "run_virtual",
]
