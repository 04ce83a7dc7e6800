"""Greengrass V2 on this machine: a fleet, one quota, faults on demand. Imports nothing of the engine.

Rule: this file names what others may use; `Service` has neither socket nor clock, `Simulator` puts it on a port.
"""

from asyncgg.simulator.command import run
from asyncgg.simulator.config import DEFAULT_PORT, SimulatorConfig
from asyncgg.simulator.direct import InProcessTransport
from asyncgg.simulator.fleet import Core, Fleet, FleetSpec
from asyncgg.simulator.server import Simulator
from asyncgg.simulator.service import Service
from asyncgg.simulator.wire import Delivery, Request, Response

__all__ = [
    "DEFAULT_PORT",
    "Response",
    "Core",
    "InProcessTransport",
    "Delivery",
    "Fleet",
    "FleetSpec",
    "Request",
    "Service",
    "Simulator",
    "SimulatorConfig",
    "run",
]
