"""Runs lanes for `--processes`: messages are JSON objects, one a line, on standard input and output."""

# Input: the `HostOptions` once, then {"run": lane}, {"stop": reason} and {"abort": true}.
# Output: {"result": result}, and the reports of `LaneHost`.

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

from asyncgg.cli.supervisor import run_async
from asyncgg.engine import StopReason
from asyncgg.fleet.lane_host import HostOptions, LaneHost
from asyncgg.models import RunState
from asyncgg.sharing import sharing


async def work() -> None:
    """Run lanes until the input ends; then stop those that run."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, _ = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)

    def write(message: Mapping[str, Any]) -> None:
        transport.write(json.dumps(message, default=str).encode() + b"\n")

    async def run(lane: Mapping[str, Any]) -> None:
        write({"result": await host.run_lane(lane)})

    host = LaneHost(HostOptions.from_dict(json.loads(await reader.readline())), write)
    lanes: set[asyncio.Task[None]] = set()
    with sharing():
        async with host.running():
            async for line in reader:
                message = json.loads(line)
                if "run" in message:
                    task = asyncio.create_task(run(message["run"]), name=f"asyncgg-lane-{message['run']['name']}")
                    lanes.add(task)
                    task.add_done_callback(lanes.discard)
                elif "stop" in message:
                    reason = message["stop"]
                    host.executor.stop(StopReason(RunState(reason["state"]), reason["message"]))
                else:
                    for task in lanes:
                        task.cancel()
            host.executor.stop(StopReason(RunState.INTERRUPTED, "the main process ended"))
            await asyncio.gather(*lanes, return_exceptions=True)
    transport.close()


if __name__ == "__main__":
    run_async(work())
