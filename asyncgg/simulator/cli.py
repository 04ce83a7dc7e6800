"""Rule: the simulator as a program lives here: options made of the settings' fields, a port, signals, an exit code."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import Field, fields
from typing import Any, Final, get_type_hints

from asyncgg.errors import UsageError
from asyncgg.simulator.config import DEFAULT_PORT, SimulatorConfig
from asyncgg.simulator.server import Simulator

__all__ = ["main", "run"]

_TYPES: Final[dict[Any, type]] = {int: int, float: float, str: str, str | None: str, float | None: float}


def run(config: SimulatorConfig, *, port: int = DEFAULT_PORT, host: str = "127.0.0.1", until_eof: bool = False) -> int:
    """Serve until SIGTERM or SIGINT, then return 0; the URL is the first line of standard output.

    With `until_eof` also until standard input ends: a pipe does when whoever holds its other end dies, even by kill -9.

    Raises UsageError when the port or the record file cannot be had.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"port {port}: give 0 to 65535, 0 for any free one")
    return asyncio.run(_serve(config, port, host, until_eof))


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m asyncgg.simulator`: the exit code, 2 for a usage error told on standard error in one line."""
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    server_options = {name: options.pop(name) for name in ("port", "host", "until_eof")}
    try:
        return run(SimulatorConfig(**options | {"fault": tuple(options["fault"])}), **server_options)
    except UsageError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


async def _serve(config: SimulatorConfig, port: int, host: str, until_eof: bool) -> int:
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    if until_eof:
        asyncio.get_running_loop().add_reader(0, lambda: None if os.read(0, 4096) else stop.set())
    async with Simulator(config, host=host, port=port) as simulator:
        sys.stdout.write(f"{simulator.url}\n")
        sys.stdout.flush()
        fleet = simulator.service.fleet
        sys.stderr.write(
            f"simulated Greengrass V2: {len(fleet.cores)} cores, {len(fleet)} client devices, "
            f"{config.rate:g} requests/s with a burst of {config.burst:g}\n"
            f"manifest: {simulator.url}/_sim/manifest.csv   what else it tells: {simulator.url}/_sim\n"
        )
        sys.stderr.flush()
        await stop.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m asyncgg.simulator", description="AWS IoT Greengrass V2 on this machine, for tests."
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, metavar="P", help="0 for any free one (%(default)s)")
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="address to serve at (%(default)s)")
    parser.add_argument("--until-eof", action="store_true", help="also end when standard input does")
    hints = get_type_hints(SimulatorConfig)
    for option in fields(SimulatorConfig):
        _add_option(parser, option, hints[option.name])
    return parser


def _add_option(parser: argparse.ArgumentParser, option: Field[Any], hint: Any) -> None:
    flag, metavar = f"--{option.name.replace('_', '-')}", option.metadata["metavar"]
    help_text = option.metadata["help"].replace("%", "%%")
    if hint == tuple[str, ...]:
        parser.add_argument(flag, action="append", default=[], metavar=metavar, help=help_text)
        return
    default_text = "" if option.default is None else f" ({option.default})"
    parser.add_argument(
        flag, type=_TYPES[hint], default=option.default, metavar=metavar, help=f"{help_text}{default_text}"
    )
