"""Aids for testing code and settings that are built on asyncgg: virtual time, and a service that plays a script.

Rule: nothing else of the package may import them, but for what is about trials itself (`asyncgg.tuning`).
"""

from asyncgg.testing.clock import DeadlockError, VirtualLoop, run_virtual
from asyncgg.testing.script import Fault, Latency, RecordedLatency, Script, Spread, Step
from asyncgg.testing.service import Arrival, ScriptedService

__all__ = [
    "Arrival",
    "DeadlockError",
    "Fault",
    "Latency",
    "RecordedLatency",
    "Script",
    "ScriptedService",
    "Spread",
    "Step",
    "VirtualLoop",
    "run_virtual",
]
