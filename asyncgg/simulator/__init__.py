"""Simulates Greengrass V2: `Service` without sockets and clock, `Simulator` on a port."""

# It must not import the engine or the limiter, so that it cannot share their errors.

from asyncgg.simulator.cli import run
from asyncgg.simulator.config import DEFAULT_PORT, SimulatorConfig
from asyncgg.simulator.fleet import Core, Fleet, FleetSpec
from asyncgg.simulator.server import Simulator
from asyncgg.simulator.service import Service
from asyncgg.simulator.wire import Delivery, Request, Response

__all__ = [
    "DEFAULT_PORT",
    "Core",
    "Delivery",
    "Fleet",
    "FleetSpec",
    "Request",
    "Response",
    "Service",
    "Simulator",
    "SimulatorConfig",
    "run",
]
