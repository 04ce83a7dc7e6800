"""Serve many lanes on loopback, each with a quota of its own, with little CPU time.

Each lane is a port: a token bucket, a latency of 60 ms, an account. Accepted requests get an empty
success of Greengrass V2, the others a throttle. `python -m benchmarks.fleet_server LANES RATE BURST`
prints the URLs on one line and serves until SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

from benchmarks.loopback_server import SUCCESS, LoopbackProtocol, event_loop_runner

__all__ = ["LATENCY", "account_of"]

LATENCY: Final = 0.06
"""Seconds until the reply."""
_THROTTLED: Final = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: 27\r\n"
    b"x-amzn-ErrorType: ThrottlingException\r\n"
    b"x-amzn-RequestId: 00000000-0000-4000-8000-000000000000\r\n\r\n"
    b'{"message":"Rate exceeded"}'
)
_IDENTITY: Final = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    "<Arn>arn:aws:iam::{account}:user/benchmark</Arn><UserId>AIDA</UserId><Account>{account}</Account>"
    "</GetCallerIdentityResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>"
    "</GetCallerIdentityResponse>"
)


def account_of(lane: int) -> str:
    """The account of a lane."""
    return f"{100_000_000_000 + lane}"


@dataclass
class LaneQuota:
    """The token bucket of a lane, and what it has seen; times of the event loop."""

    rate: float
    burst: float
    tokens: float
    updated_at: float
    accepted: int = 0
    throttled: int = 0

    def take(self, now: float) -> bool:
        """Whether a request at `now` is accepted."""
        self.tokens = min(self.burst, self.tokens + (now - self.updated_at) * self.rate)
        self.updated_at = now
        accepted = self.tokens >= 1
        self.tokens -= accepted
        self.accepted += accepted
        self.throttled += not accepted
        return accepted


class LaneProtocol(LoopbackProtocol):
    """One connection of a lane."""

    def __init__(self, lane: int, quotas: list[LaneQuota], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._lane = lane
        self._quotas = quotas
        self._loop = loop

    def respond(self, request: bytes) -> None:
        """Write the reply: that of STS or of the control of this server at once."""
        if request.startswith(b"POST /greengrass/"):
            accepted = self._quotas[self._lane].take(self._loop.time())
            self._loop.call_later(LATENCY, self.write, SUCCESS if accepted else _THROTTLED)
        elif request.startswith(b"POST "):
            self.write(_response("text/xml", _IDENTITY.format(account=account_of(self._lane))))
        else:
            usage = {"cpu_seconds": time.process_time(), "lanes": [asdict(quota) for quota in self._quotas]}
            self.write(_response("application/json", json.dumps(usage)))


def _response(content_type: str, body: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def _serve(lanes: int, rate: float, burst: float) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    quotas = [LaneQuota(rate, burst, burst, loop.time()) for _ in range(lanes)]

    protocols = [partial(LaneProtocol, lane, quotas, loop) for lane in range(lanes)]
    servers = [await loop.create_server(protocol, "127.0.0.1", 0) for protocol in protocols]
    print(*(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers), flush=True)
    await stop.wait()
    for server in servers:
        server.close()


if __name__ == "__main__":
    event_loop_runner()(_serve(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
