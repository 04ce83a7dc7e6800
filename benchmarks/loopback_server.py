"""Rule: the server of the throughput measurements lives here: it answers every request at once, and does nothing else.

HTTP/1.1 with kept connections, straight on asyncio's protocol: about a tenth of a client's work for the same request,
so that it is never the bottleneck. POST is answered with the plain success of Greengrass V2, GET with what the server
itself has used: `{"requests": n, "cpu_seconds": s}`, by which a measurement shows that the server had time to spare.

`python -m benchmarks.loopback_server [PORT]`: the first line of standard output is its URL; SIGTERM ends it.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import signal
import sys
import time
from collections.abc import Callable
from typing import Final, cast

_SUCCESS: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 19\r\n"
    b"x-amzn-RequestId: 00000000-0000-4000-8000-000000000000\r\n\r\n"
    b'{"errorEntries":[]}'
)
_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length:"


class LoopbackProtocol(asyncio.Protocol):
    """One connection."""

    requests = 0
    """Of all connections together."""

    def __init__(self) -> None:
        self._received = b""
        self._write: Callable[[bytes], None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._write = cast("asyncio.Transport", transport).write  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._received += data
        while (size := _first_request_length(self._received)) is not None:
            is_post = self._received.startswith(b"POST")
            self._received = self._received[size:]
            LoopbackProtocol.requests += is_post
            self._write(_SUCCESS if is_post else _usage_response())


def _first_request_length(received: bytes) -> int | None:
    """Bytes of the first request, None while it is not complete."""
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


if __name__ == "__main__":
    try:
        run: Callable[..., None] = importlib.import_module("uvloop").run
    except ImportError:
        run = asyncio.run
    run(_serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
