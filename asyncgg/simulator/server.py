"""Serves a simulated service over HTTP."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import struct
import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from aiohttp import web

from asyncgg.errors import UsageError
from asyncgg.simulator.config import SimulatorConfig
from asyncgg.simulator.control_api import PREFIX, handle_control_request
from asyncgg.simulator.counters import RequestLogEntry
from asyncgg.simulator.fleet import FleetSpec
from asyncgg.simulator.service import Service
from asyncgg.simulator.wire import Delivery, Request, Response

_LINGER_ZERO = struct.pack("ii", 1, 0)
"""SO_LINGER on with zero seconds: `close` sends RST instead of FIN."""
_SHUTDOWN_SECONDS = 0.5


class Simulator:
    """The simulated service on a local port, as an async context manager.

    `async with Simulator(SimulatorConfig(cores=3)) as sim:` serves at `sim.url` during the block;
    `sim.service` has the fleet, counters, quota and faults. Raises `UsageError` if the port is not
    available.
    """

    def __init__(
        self,
        config: SimulatorConfig | None = None,
        *,
        fleet_spec: FleetSpec | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """`fleet_spec` replaces the generated fleet; port 0 means any free port."""
        self.config = config or SimulatorConfig()
        self.service = Service(self.config, fleet_spec=fleet_spec, now=time.time())
        self.url = ""
        """URL such as http://127.0.0.1:8765; empty before the start."""
        self._host, self._port = host, port
        self._epoch = 0.0
        self._runner: web.ServerRunner | None = None
        self._hanging: set[asyncio.Future[None]] = set()
        self._record_file: IO[str] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Bind the port and serve; raises `UsageError` if port or record file are not available."""
        # The quota needs a wall time that never jumps.
        self._epoch = time.time() - asyncio.get_running_loop().time()
        self._open_record()
        server = web.Server(self._respond, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_SHUTDOWN_SECONDS)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port, backlog=1024).start()
        except OSError as error:
            await self.stop()
            raise UsageError(_bind_error(self._host, self._port, error)) from None
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Close all connections, including hanging ones, and the port."""
        for release in self._hanging:
            if not release.done():
                release.set_result(None)
        if self._runner:
            await self._runner.cleanup()
            self._runner = None
        if self._record_file:
            self._record_file.close()
            self._record_file = None

    def now(self) -> float:
        """Get the time of the service: seconds since 1970, monotonic.

        Call it in the serving loop.
        """
        return self._epoch + asyncio.get_running_loop().time()

    async def _respond(self, http: web.BaseRequest) -> web.StreamResponse:
        request = Request(
            http.method, http.raw_path, {name.lower(): value for name, value in http.headers.items()}, await http.read()
        )
        now = self.now()
        if request.path == PREFIX or request.path.startswith(f"{PREFIX}/"):
            response = handle_control_request(self.service, request, now)
            return web.Response(status=response.status, body=response.body, headers=response.headers)
        response = self.service.handle(request, now)
        with self.service.counters.track_in_flight(response.core):
            await asyncio.sleep(response.delay)
            match response.delivery:
                case Delivery.HANG:
                    await self._hang()
                    return _reset_connection(http, response)
                case Delivery.RESET:
                    return _reset_connection(http, response)
                case Delivery.TRUNCATED:
                    return await _truncate(http, response)
                case _:
                    return web.Response(status=response.status, body=response.body, headers=response.headers)

    async def _hang(self) -> None:
        """Wait for `hang_seconds` or the stop; a client that disconnects cancels this."""
        release: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hanging.add(release)
        try:
            await asyncio.wait((release,), timeout=self.config.hang_seconds)
        finally:
            self._hanging.discard(release)

    def _open_record(self) -> None:
        if self.config.record is None:
            return
        try:
            self._record_file = Path(self.config.record).open("a", encoding="utf-8")  # noqa: SIM115 - stop() closes it
        except OSError as error:
            raise UsageError(f"record file {self.config.record}: {error.strerror}; choose another --record") from None
        self.service.on_log_entry = self._write_log_entry

    def _write_log_entry(self, entry: RequestLogEntry) -> None:
        if self._record_file:
            self._record_file.write(json.dumps(asdict(entry), separators=(",", ":")) + "\n")


def _reset_connection(http: web.BaseRequest, response: Response) -> web.StreamResponse:
    transport = http.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        transport.abort()
    return web.Response(status=response.status)  # not sent: the connection is closed


async def _truncate(http: web.BaseRequest, full_response: Response) -> web.StreamResponse:
    response = web.StreamResponse(status=full_response.status, headers=full_response.headers)
    response.content_length = len(full_response.body)
    await response.prepare(http)
    await response.write(full_response.body[: len(full_response.body) // 2])
    if http.transport is not None:
        http.transport.close()
    return response


def _bind_error(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use by another program; choose another --port, or --port 0 for a free one"
    return f"cannot listen on {host}, port {port}: {error.strerror or error}; choose another --host or --port"
