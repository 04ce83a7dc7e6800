"""Serve immediate replies on loopback, with a tenth of the CPU that a client needs per request.

The reply to POST is an empty success of Greengrass V2. The reply to GET is the usage of the server,
`{"requests": n, "cpu_seconds": s}`, which shows whether the server was the bottleneck.
`python -m benchmarks.loopback_server [PORT]` prints the URL and serves until SIGTERM.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import signal
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, cast

from benchmarks.processes import server_process

__all__ = ["SUCCESS", "LoopbackProtocol", "event_loop_runner", "loopback_server", "server_cpu_seconds"]

SUCCESS: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 19\r\n"
    b"x-amzn-RequestId: 00000000-0000-4000-8000-000000000000\r\n\r\n"
    b'{"errorEntries":[]}'
)
_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length:"


def loopback_server() -> AbstractContextManager[str]:
    """Run the server in a separate process; the context is its URL."""
    return server_process("-m", "benchmarks.loopback_server")


def server_cpu_seconds(url: str) -> float:
    """Return the CPU seconds that the server has used so far."""
    with urllib.request.urlopen(url, timeout=30) as response:
        return float(json.load(response)["cpu_seconds"])


class LoopbackProtocol(asyncio.Protocol):
    """One connection of the server."""

    requests = 0
    """POST requests of all connections."""

    write: Callable[[bytes], None]

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the function that writes the reply."""
        self.write = cast("asyncio.Transport", transport).write  # uvloop has its own class

    def data_received(self, data: bytes) -> None:
        """Reply to each complete request."""
        self._received += data
        while (size := _first_request_length(self._received)) is not None:
            request, self._received = self._received[:size], self._received[size:]
            self.respond(request)

    def respond(self, request: bytes) -> None:
        """Write the reply to a request."""
        is_post = request.startswith(b"POST")
        LoopbackProtocol.requests += is_post
        self.write(SUCCESS if is_post else _usage_response())


def _first_request_length(received: bytes) -> int | None:
    """Return the length of the first request, None while it is incomplete."""
    end = received.find(_END)
    if end < 0:
        return None
    head = received[: end + 2].lower()
    at = head.find(_LENGTH)
    length = int(head[at + len(_LENGTH) : head.index(b"\r", at + 2)]) if at >= 0 else 0
    size = end + len(_END) + length
    return size if len(received) >= size else None


def _usage_response() -> bytes:
    body = json.dumps({"requests": LoopbackProtocol.requests, "cpu_seconds": time.process_time()}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def _serve(port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(LoopbackProtocol, "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()
    server.close()


def event_loop_runner() -> Callable[..., None]:
    """`asyncio.run`, on uvloop if it is installed."""
    try:
        return cast("Callable[..., None]", importlib.import_module("uvloop").run)
    except ImportError:
        return asyncio.run


if __name__ == "__main__":
    event_loop_runner()(_serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
