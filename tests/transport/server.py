"""Rule: the test server of this folder lives here: scripted bytes for each request, well formed or not."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Step = Callable[["Request", asyncio.StreamWriter], Awaitable[None]]


def answer(
    status: int = 200,
    body: bytes | dict[str, Any] | list[Any] | None = b"{}",
    headers: Mapping[str, str] | None = None,
    *,
    length: int | None = None,
    close: bool = False,
) -> Step:
    """Answer with this; `length` is stated in place of the body's own, -1 states none."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    stated = len(content) if length is None else length
    lines = [f"HTTP/1.1 {status} Something", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    if stated >= 0:
        lines.append(f"Content-Length: {stated}")
    if close or stated < 0:
        lines.append("Connection: close")
    return raw("\r\n".join([*lines, "", ""]).encode() + content, close=close or stated != len(content))


def raw(content: bytes, *, close: bool = True) -> Step:
    """Write these bytes, and then perhaps close."""

    async def step(_request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()
        if close:
            writer.close()

    return step


async def reset(_request: Request, writer: asyncio.StreamWriter) -> None:
    """End the connection hard, with the request read and no byte answered."""
    writer.transport.abort()


async def hang_up(_request: Request, writer: asyncio.StreamWriter) -> None:
    """End the connection politely, without an answer."""
    writer.close()


async def hang(_request: Request, _writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


class Server:
    """A loopback HTTP server that plays one step a request, the last one for all that follow, and keeps requests."""

    def __init__(self) -> None:
        self.steps: list[Step] = [answer()]
        self.requests: list[Request] = []
        self.open: set[asyncio.StreamWriter] = set()
        """Connections that neither side has ended."""
        self.asked = asyncio.Event()
        """Set by each request that was read whole."""
        self.accepted = asyncio.Event()
        """Set by each connection."""
        self.idle = asyncio.Event()
        """Set while no connection is open."""
        self.idle.set()
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    def play(self, *steps: Step) -> None:
        """Replace the script."""
        self.steps = list(steps)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until one side ends it."""
        self.open.add(writer)
        self.idle.clear()
        self.accepted.set()
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, writer))

    def _ended(self, task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        self._tasks.discard(task)
        self.open.discard(writer)
        writer.close()
        if not self.open:
            self.idle.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A step runs beside the watch for the other side's end, so that a hanging one ends with its connection.
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                self.requests.append(request := await _read(reader))
                step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
                self.asked.set()
                playing = asyncio.ensure_future(step(request, writer))
                while not playing.done() and not reader.at_eof() and reader.exception() is None:
                    await asyncio.wait({playing}, timeout=0.01)
                playing.cancel()

    async def stop(self) -> None:
        """End all connections."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


@contextlib.asynccontextmanager
async def serving(ssl: Any = None) -> AsyncIterator[Server]:
    """A server on a free port."""
    server = Server()
    listener = await asyncio.start_server(server.connected, "127.0.0.1", 0, ssl=ssl)
    server.url = f"http{'s' if ssl else ''}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        await server.stop()
        await listener.wait_closed()
