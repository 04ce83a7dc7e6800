"""Rule: sockets live here, and only here: requests are read, answers written, and connections ill-treated."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from aiohttp import web

from asyncgg.errors import UsageError
from asyncgg.simulator.config import SimulatorConfig
from asyncgg.simulator.counters import Row
from asyncgg.simulator.fleet import FleetPlan
from asyncgg.simulator.introspection import PREFIX, introspect
from asyncgg.simulator.service import Service
from asyncgg.simulator.wire import Answer, Fate, Request

__all__ = ["Simulator"]

_LINGER_NOT = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing sends RST instead of FIN."""
_SHUTDOWN_SECONDS = 0.5


class Simulator:
    """The simulated service on a port of this machine; an async context manager.

    `async with Simulator(SimulatorConfig(cores=3)) as sim:` serves at `sim.url` until the block ends; `sim.service`
    holds the fleet, the counters, the quota and the faults. Raises UsageError when the port cannot be had.
    """

    def __init__(
        self,
        config: SimulatorConfig | None = None,
        *,
        plan: FleetPlan | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """`plan` replaces the generated fleet; port 0 takes any free port."""
        self.config = config or SimulatorConfig()
        self.service = Service(self.config, plan=plan, now=time.time())
        self.url = ""
        """Where it serves, such as http://127.0.0.1:8765; empty before it does."""
        self._host, self._port = host, port
        self._epoch = 0.0
        self._runner: web.ServerRunner | None = None
        self._hanging: set[asyncio.Future[None]] = set()
        self._record: IO[str] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Bind the port and serve; raises UsageError when the port or the record file cannot be had."""
        # Wall time that never jumps: the quota counts by it.
        self._epoch = time.time() - asyncio.get_running_loop().time()
        self._open_record()
        server = web.Server(self._respond, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_SHUTDOWN_SECONDS)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port, backlog=1024).start()
        except OSError as error:
            await self.stop()
            raise UsageError(_no_port(self._host, self._port, error)) from None
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Let go of all connections, held ones too, and of the port."""
        for held in self._hanging:
            if not held.done():
                held.set_result(None)
        if self._runner:
            await self._runner.cleanup()
            self._runner = None
        if self._record:
            self._record.close()
            self._record = None

    def now(self) -> float:
        """The service's time: seconds since 1970, never going back. Call it in the loop that serves."""
        return self._epoch + asyncio.get_running_loop().time()

    async def _respond(self, http: web.BaseRequest) -> web.StreamResponse:
        request = Request(
            http.method, http.raw_path, {name.lower(): value for name, value in http.headers.items()}, await http.read()
        )
        now = self.now()
        if request.path == PREFIX or request.path.startswith(f"{PREFIX}/"):
            answer = introspect(self.service, request, now)
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        answer = self.service.handle(request, now)
        with self.service.counters.flight(answer.core):
            await asyncio.sleep(answer.delay)
            match answer.fate:
                case Fate.HANG:
                    await self._hold()
                    return _reset(http, answer)
                case Fate.RESET:
                    return _reset(http, answer)
                case Fate.HALF:
                    return await _halve(http, answer)
                case _:
                    return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def _hold(self) -> None:
        """Wait until the server stops or the longest hang is over; a client that leaves cancels it."""
        held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hanging.add(held)
        try:
            await asyncio.wait((held,), timeout=self.config.hang_seconds)
        finally:
            self._hanging.discard(held)

    def _open_record(self) -> None:
        if self.config.record is None:
            return
        try:
            self._record = Path(self.config.record).open("a", encoding="utf-8")  # noqa: SIM115 - stop() closes it
        except OSError as error:
            raise UsageError(f"record file {self.config.record}: {error.strerror}; choose another --record") from None
        self.service.on_row = self._write_row

    def _write_row(self, row: Row) -> None:
        if self._record:
            self._record.write(json.dumps(row.as_dict(), separators=(",", ":")) + "\n")


def _reset(http: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    transport = http.transport
    if transport is not None:
        peer = transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        transport.abort()
    return web.Response(status=answer.status)  # goes nowhere


async def _halve(http: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = len(answer.body)
    await response.prepare(http)
    await response.write(answer.body[: len(answer.body) // 2])
    if http.transport is not None:
        http.transport.close()
    return response


def _no_port(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is taken by another program: choose another with --port, or --port 0 for a free one"
        )
    return f"cannot serve at {host}, port {port}: {error.strerror or error}; choose others with --host and --port"
