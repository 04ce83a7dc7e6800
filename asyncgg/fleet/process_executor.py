"""Runs lanes in worker processes of this machine: the side of the main process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Self

from asyncgg.engine import StopReason
from asyncgg.errors import AsyncggError
from asyncgg.events import Progress
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.lane_host import HostOptions
from asyncgg.fleet.results import LaneResult

_EXIT_TIMEOUT: Final = 10.0
"""Seconds that workers have to end after their last lane."""
_MAX_LINE: Final = 1 << 24
"""Bytes of a message: the progress of a thousand lanes."""


class WorkerDiedError(AsyncggError):
    """The process of a lane ended before the lane."""


class _LaneProcess:
    """One worker process, and the lanes that it runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.results: dict[str, asyncio.Future[LaneResult]] = {}
        self.is_alive = True

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message, unless the process has died."""
        if self.is_alive and self.process.stdin is not None:
            self.process.stdin.write(json.dumps(message, default=str).encode() + b"\n")


class ProcessExecutor:
    """A `LaneExecutor`: `count` processes of `command` share the lanes.

    The first message to each is `options`; then one JSON object a line in both directions, see
    `asyncgg.cli.lane_worker`. The end of its input ends a worker, so none outlives this process.
    `on_report` gets what a worker reports, but results.
    """

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        options: HostOptions,
        on_report: Callable[[Mapping[str, Any]], object],
    ) -> None:
        self._command = command
        self._count = count
        self._options = options
        self._on_report = on_report
        self._workers: list[_LaneProcess] = []
        self._readers: list[asyncio.Task[None]] = []
        self._progress: dict[str, Progress] = {}

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        try:
            for number in range(self._count):
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=pipe,
                    stdout=pipe,
                    limit=_MAX_LINE,
                    start_new_session=True,  # Ctrl-C reaches the main process only
                )
                worker = _LaneProcess(process)
                worker.send(self._options.to_dict())
                self._workers.append(worker)
                self._readers.append(asyncio.create_task(self._read(worker), name=f"asyncgg-worker-{number}"))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        for worker in self._workers:
            if worker.results:  # the lanes were cancelled
                worker.send({"abort": True})
            if worker.process.stdin is not None:
                worker.process.stdin.close()
        if self._readers:
            _, running = await asyncio.wait(self._readers, timeout=_EXIT_TIMEOUT)
            for worker in self._workers if running else ():
                with contextlib.suppress(ProcessLookupError):
                    worker.process.kill()
            await asyncio.gather(*self._readers)

    async def run_lane(self, lane: CampaignLane) -> LaneResult:
        """As `LaneExecutor.run_lane`. Raises `WorkerDiedError`."""
        alive = [worker for worker in self._workers if worker.is_alive]
        if not alive:
            raise WorkerDiedError("no worker process is left; resume the campaign")
        worker = min(alive, key=lambda worker: len(worker.results))
        result: asyncio.Future[LaneResult] = asyncio.get_running_loop().create_future()
        worker.results[lane.name] = result
        worker.send({"run": asdict(lane)})
        return await result

    def stop(self, reason: StopReason) -> None:
        """As `LaneExecutor.stop`."""
        for worker in self._workers:
            worker.send({"stop": {"state": reason.state, "message": reason.message}})

    def progress(self) -> Mapping[str, Progress]:
        """As `LaneExecutor.progress`; as the workers reported it last."""
        return self._progress

    async def _read(self, worker: _LaneProcess) -> None:
        """Receive what the worker writes until it ends."""
        assert worker.process.stdout is not None
        with contextlib.suppress(ValueError):  # it died within a line
            async for line in worker.process.stdout:
                self._receive(worker, json.loads(line))
        code = await worker.process.wait()
        worker.is_alive = False
        cause = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
        for name, result in worker.results.items():
            self._progress.pop(name, None)
            if not result.done():
                result.set_exception(WorkerDiedError(f"its worker process died ({cause}); resume the campaign"))
        worker.results.clear()

    def _receive(self, worker: _LaneProcess, message: Mapping[str, Any]) -> None:
        if "result" in message:
            lane_result = LaneResult.from_dict(message["result"])
            self._progress.pop(lane_result.name, None)
            result = worker.results.pop(lane_result.name, None)
            if result is not None and not result.done():
                result.set_result(lane_result)
            return
        for name, values in message.get("progress", {}).items():
            if name in worker.results:
                self._progress[name] = Progress(**values)
        self._on_report(message)
