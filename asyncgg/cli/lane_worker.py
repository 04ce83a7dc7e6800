"""Runs lanes for `--processes`: messages are JSON objects, one a line, on standard input and output."""

# Input: {"mode", "overrides", "state", "level", "metrics"} once, then {"run": lane}, {"stop": reason}
# and {"abort": true}. Output: {"result": result}, {"progress", "counts"}, {"message": [lane, line]}
# and {"log": record}.

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asyncgg.cli.supervisor import run_async
from asyncgg.engine import StopReason
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.campaign_state import CampaignState
from asyncgg.fleet.lane_reports import REPORT_INTERVAL, LaneReports, ReportHandler
from asyncgg.fleet.local import LocalExecutor
from asyncgg.fleet.results import failed_result
from asyncgg.models import RunState
from asyncgg.runs import RunMode
from asyncgg.sharing import sharing
from asyncgg.telemetry.log_records import ROOT


class LaneWorker:
    """The lanes of this process. `write` sends a message."""

    def __init__(self, start: Mapping[str, Any], write: Any) -> None:
        self._write = write
        self._reports = LaneReports(write, lambda: self.executor.progress(), has_metrics=bool(start["metrics"]))
        self._tasks: set[asyncio.Task[None]] = set()
        self.executor = LocalExecutor(
            RunMode(start["mode"]),
            start["overrides"],
            CampaignState(**start["state"]) if start["state"] else None,
            on_message=self._reports.message,
            listeners_for=self._reports.listeners_for,
        )

    def receive(self, message: Mapping[str, Any]) -> None:
        """Do what the main process wants."""
        if "run" in message:
            lane = CampaignLane(**message["run"] | {"journal": Path(message["run"]["journal"])})
            task = asyncio.create_task(self._run(lane), name=f"asyncgg-lane-{lane.name}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif "stop" in message:
            self.executor.stop(StopReason(RunState(message["stop"]["state"]), message["stop"]["message"]))
        else:
            for task in self._tasks:
                task.cancel()

    async def report(self) -> None:
        """Report the progress until cancelled."""
        while True:
            await asyncio.sleep(REPORT_INTERVAL)
            self._reports.report()

    async def finish(self) -> None:
        """Wait for the lanes."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, lane: CampaignLane) -> None:
        try:
            result = await self.executor.run_lane(lane)
        except Exception as error:  # noqa: BLE001 - whatever ended the lane is its result
            result = failed_result(await asyncio.to_thread(lane.read_result), error)
        self._write({"result": result.to_dict()})


async def work() -> None:
    """Run lanes until the input ends; then stop those that run."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, _ = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)

    def write(message: Mapping[str, Any]) -> None:
        transport.write(json.dumps(message, default=str).encode() + b"\n")

    start = json.loads(await reader.readline())
    ROOT.setLevel(start["level"])
    ROOT.addHandler(ReportHandler(write))
    with sharing():
        worker = LaneWorker(start, write)
        async with worker.executor:
            reporting = asyncio.create_task(worker.report(), name="asyncgg-report")
            async for line in reader:
                worker.receive(json.loads(line))
            worker.executor.stop(StopReason(RunState.INTERRUPTED, "the main process ended"))
            await worker.finish()
            reporting.cancel()
    transport.close()


if __name__ == "__main__":
    run_async(work())
