"""Runs the simulator as a program with one option per field of `SimulatorConfig`."""

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

_TYPES: Final[dict[Any, type]] = {
    int: int,
    float: float,
    str: str,
    str | None: str,
    float | None: float,
    int | None: int,
}


def run(config: SimulatorConfig, *, port: int = DEFAULT_PORT, host: str = "127.0.0.1", until_eof: bool = False) -> int:
    """Serve until SIGTERM or SIGINT and return 0; the first line of standard output is the URL.

    `until_eof` also stops at the end of standard input; a pipe ends even if its writer is killed.
    Raises `UsageError` if the port or the record file cannot be opened.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"port {port}: must be 0 to 65535 (0: any free port)")
    return asyncio.run(_serve(config, port, host, until_eof))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m asyncgg.simulator` and return the exit code."""
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
            f"{config.limiter_spec().describe(config.rate, config.burst)}\n"
            f"manifest: {simulator.url}/_sim/manifest.csv   other paths: {simulator.url}/_sim\n"
        )
        sys.stderr.flush()
        await stop.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m asyncgg.simulator", description="Simulate AWS IoT Greengrass V2 on this machine."
    )
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, metavar="P", help="port, 0 for any free one [default: %(default)s]"
    )
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="address to listen on [default: %(default)s]")
    parser.add_argument("--until-eof", action="store_true", help="also stop at the end of standard input")
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
    default_text = "" if option.default is None else f" [default: {option.default}]"
    parser.add_argument(
        flag, type=_TYPES[hint], default=option.default, metavar=metavar, help=f"{help_text}{default_text}"
    )
