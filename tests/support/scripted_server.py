"""A server that responds with scripted bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A received request; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


ScriptStep = Callable[["ReceivedRequest", asyncio.StreamWriter], Awaitable[None]]


def respond(
    status: int = 200,
    body: bytes | dict[str, Any] | list[Any] | None = b"{}",
    headers: Mapping[str, str] | None = None,
    *,
    length: int | None = None,
    close: bool = False,
) -> ScriptStep:
    """Respond with `body`; `length` replaces its Content-Length, -1 omits the header."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    content_length = len(content) if length is None else length
    lines = [f"HTTP/1.1 {status} Something", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    if content_length >= 0:
        lines.append(f"Content-Length: {content_length}")
    if close or content_length < 0:
        lines.append("Connection: close")
    return respond_raw("\r\n".join([*lines, "", ""]).encode() + content, close=close or content_length != len(content))


def respond_raw(content: bytes, *, close: bool = True) -> ScriptStep:
    """Write these bytes and optionally close the connection."""

    async def step(_request: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()
        if close:
            writer.close()

    return step


async def reset_connection(_request: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
    """Reset the connection without a response."""
    writer.transport.abort()


async def close_connection(_request: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
    """Close the connection without a response."""
    writer.close()


async def never_respond(_request: ReceivedRequest, _writer: asyncio.StreamWriter) -> None:
    """Never respond."""
    await asyncio.Event().wait()


class ScriptedServer:
    """A local HTTP server that runs one step per request and then repeats the last one."""

    def __init__(self) -> None:
        self.steps: list[ScriptStep] = [respond()]
        self.requests: list[ReceivedRequest] = []
        self.open_connections: set[asyncio.StreamWriter] = set()
        """Open connections."""
        self.request_received = asyncio.Event()
        """Set by each complete request."""
        self.connection_accepted = asyncio.Event()
        """Set by each connection."""
        self.idle = asyncio.Event()
        """Set while no connection is open."""
        self.idle.set()
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    def set_script(self, *steps: ScriptStep) -> None:
        """Replace the steps."""
        self.steps = list(steps)

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until one side closes it."""
        self.open_connections.add(writer)
        self.idle.clear()
        self.connection_accepted.set()
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, writer))

    def _ended(self, task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        self._tasks.discard(task)
        self.open_connections.discard(writer)
        writer.close()
        if not self.open_connections:
            self.idle.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The loop polls the connection while a step runs, so that a hanging step ends with it.
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                self.requests.append(request := await _read(reader))
                step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
                self.request_received.set()
                running_step = asyncio.ensure_future(step(request, writer))
                while not running_step.done() and not reader.at_eof() and reader.exception() is None:
                    await asyncio.wait({running_step}, timeout=0.01)
                running_step.cancel()

    async def stop(self) -> None:
        """Close all connections."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> ReceivedRequest:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    return ReceivedRequest(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


@contextlib.asynccontextmanager
async def scripted_server(ssl: Any = None) -> AsyncIterator[ScriptedServer]:
    """Run a server on a free port."""
    server = ScriptedServer()
    tcp_server = await asyncio.start_server(server.serve_connection, "127.0.0.1", 0, ssl=ssl)
    server.url = f"http{'s' if ssl else ''}://127.0.0.1:{tcp_server.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        tcp_server.close()
        await server.stop()
        await tcp_server.wait_closed()
