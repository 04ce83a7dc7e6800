"""Greengrass V2 on this machine: a fleet, one quota, faults on demand. Imports nothing of the engine.

Rule: this file names what others may use; `Service` has neither socket nor clock, `Simulator` puts it on a port.
"""

from asyncgg.simulator.cli import run
from asyncgg.simulator.config import DEFAULT_PORT, SimulatorConfig
from asyncgg.simulator.fleet import Core, Fleet, FleetSpec
from asyncgg.simulator.in_process import InProcessTransport
from asyncgg.simulator.server import Simulator
from asyncgg.simulator.service import Service
from asyncgg.simulator.wire import Delivery, Request, Response

__all__ = [
    "DEFAULT_PORT",
    "Core",
    "Delivery",
    "Fleet",
    "FleetSpec",
    "InProcessTransport",
    "Request",
    "Response",
    "Service",
    "Simulator",
    "SimulatorConfig",
    "run",
]
