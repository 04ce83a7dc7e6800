"""Runs the simulator as a program with one option per field of `SimulatorConfig`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from types import NoneType
from typing import Any, get_args, get_type_hints

import click

from asyncgg.errors import UsageError
from asyncgg.simulator.config import DEFAULT_PORT, SimulatorConfig
from asyncgg.simulator.server import Simulator


def run(config: SimulatorConfig, *, port: int = DEFAULT_PORT, host: str = "127.0.0.1", until_eof: bool = False) -> int:
    """Serve until SIGTERM or SIGINT and return 0; the first line of standard output is the URL.

    `until_eof` also stops at the end of standard input; a pipe ends even if its writer is killed.
    Raises `UsageError` if the port or the record file cannot be opened.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"port {port}: must be 0 to 65535 (0: any free port)")
    return asyncio.run(_serve(config, port, host, until_eof))


def server_options() -> Iterator[tuple[str, dict[str, Any]]]:
    """The flag of each option, and its attributes for click."""
    yield "--port", {"metavar": "PORT", "type": int, "default": DEFAULT_PORT, "help": "0 for any free one"}
    yield "--host", {"metavar": "HOST", "default": "127.0.0.1", "help": "address to serve at"}
    hints = get_type_hints(SimulatorConfig)
    for option in fields(SimulatorConfig):
        hint, attributes = hints[option.name], {**option.metadata, "default": option.default}
        if hint == tuple[str, ...]:
            attributes |= {"type": str, "multiple": True}
        else:
            attributes["type"] = next((kind for kind in get_args(hint) if kind is not NoneType), hint)
        yield f"--{option.name.replace('_', '-')}", attributes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m asyncgg.simulator` and return the exit code."""
    options: list[click.Parameter] = [
        click.Option([flag], show_default=True, **attributes) for flag, attributes in server_options()
    ]
    options.append(click.Option(["--until-eof"], is_flag=True, help="also stop at the end of standard input"))
    command = click.Command(
        "simulator", callback=_run_program, params=options, help="Simulate AWS IoT Greengrass V2 on this machine."
    )
    try:
        code = command.main(arguments, "python -m asyncgg.simulator", standalone_mode=False)
    except (UsageError, click.ClickException) as error:
        sys.stderr.write(f"error: {error.format_message() if isinstance(error, click.ClickException) else error}\n")
        return error.exit_code
    return int(code)


def _run_program(port: int, host: str, until_eof: bool, **settings: Any) -> int:
    return run(SimulatorConfig(**settings), port=port, host=host, until_eof=until_eof)


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
