"""Runs lanes on a Dask cluster: the driver's side; requires distributed."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, Final, Self

from distributed import Client, KilledWorker
from distributed.client import FutureCancelledError

from asyncgg.engine import StopReason
from asyncgg.errors import AsyncggError, UsageError
from asyncgg.events import Progress
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.dask_worker import describe_difference, run_lane_task, stop_lanes, topic, versions
from asyncgg.fleet.lane_host import HostOptions
from asyncgg.fleet.results import LaneResult
from asyncgg.settings import OUTPUT_SETTINGS

for _name in ("client", "core", "batched", "comm"):  # the result of each lane has the reason, in one line
    logging.getLogger(f"distributed.{_name}").setLevel(logging.CRITICAL)

_CONNECT_TIMEOUT: Final = 15.0
_STOP_INTERVAL: Final = 2.0
"""Seconds between requests to stop: a worker can start a lane that was waiting."""
_WATCH_INTERVAL: Final = 10.0
_MAX_RESTARTS: Final = 20
"""How often a lane is submitted again after the scheduler has given it up, because too many of its workers died."""


class ClusterError(AsyncggError):
    """The Dask cluster cannot run a lane; what was saved of it is resumable."""


class DaskExecutor:
    """A `LaneExecutor`: each lane is a task of the cluster whose scheduler is at `address`.

    The worker takes the lease of the lane in `state`, so that a lane that Dask runs again, after a
    worker died, continues from what was saved. `on_report` gets the reports of the workers, see
    `LaneHost`. Raises `UsageError` on entering if the scheduler does not answer or a worker has
    other versions.
    """

    def __init__(
        self,
        address: str,
        options: HostOptions,
        on_report: Callable[[Mapping[str, Any]], object],
    ) -> None:
        assert options.state is not None
        self._address = address
        overrides = {name: value for name, value in options.overrides.items() if name not in OUTPUT_SETTINGS}
        self._task = {
            "start": secrets.token_hex(6),
            "options": replace(options, overrides=overrides).to_dict(),
            "versions": versions(),
        }
        self._campaign = options.state.id
        self._on_report = on_report
        self._client: Any
        self._progress: dict[str, Progress] = {}
        self._running: set[str] = set()
        self._is_stopped = False
        self._background: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        open_client: Any = Client  # its methods have no types
        try:
            self._client = await open_client(self._address, asynchronous=True, name="asyncgg", timeout=_CONNECT_TIMEOUT)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"--dask {self._address}: the scheduler does not answer: {error}; nothing was sent; resume the campaign"
                " when it runs"
            ) from None
        try:
            await self._check_versions()
        except BaseException:
            await self._client.close()
            raise
        self._client.subscribe_topic(topic(self._campaign), self._receive)
        self._background.append(asyncio.create_task(self._watch_workers(), name="asyncgg-workers"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._client.close()

    async def run_lane(self, lane: CampaignLane) -> LaneResult:
        """As `LaneExecutor.run_lane`."""
        key = f"asyncgg-{self._campaign}-{self._task['start']}-{lane.name}"
        future = self._client.submit(run_lane_task, self.task_arguments(lane), key=key, pure=False)
        self._running.add(lane.name)
        try:
            return LaneResult.from_dict(json.loads(await self._wait(lane.name, future)))
        finally:
            self._running.discard(lane.name)
            self._progress.pop(lane.name, None)
            future.release()

    def task_arguments(self, lane: CampaignLane) -> str:
        """The argument of the task of the lane, which the scheduler keeps."""
        return json.dumps(self._task | {"lane": asdict(lane)}, default=str)

    def stop(self, reason: StopReason) -> None:
        """As `LaneExecutor.stop`."""
        if not self._is_stopped:
            self._is_stopped = True
            self._background.append(asyncio.create_task(self._broadcast_stop(reason), name="asyncgg-stop"))

    def progress(self) -> Mapping[str, Progress]:
        """As `LaneExecutor.progress`; as the workers reported it last."""
        return self._progress

    def _show(self, name: str, line: str) -> None:
        self._on_report({"message": [name, line]})

    async def _wait(self, name: str, future: Any) -> str:
        for _ in range(_MAX_RESTARTS):
            try:
                text: str = await future
            except KilledWorker:
                self._show(name, "several of its workers died; starting it again")
                await self._client.retry([future])
            except FutureCancelledError:
                raise ClusterError("the connection to the Dask scheduler was lost; resume the campaign") from None
            else:
                return text
        raise ClusterError("the workers that ran the lane died again and again; see their logs")

    async def _watch_workers(self) -> None:
        """Say when lanes wait because the cluster has lost all workers."""
        had_workers = True
        while True:
            await asyncio.sleep(_WATCH_INTERVAL)
            with suppress(OSError):
                has_workers = bool(await self._client.nthreads())
                if had_workers and not has_workers:
                    self._show(self._address, "the cluster has no worker; the lanes wait for one")
                had_workers = has_workers

    async def _broadcast_stop(self, reason: StopReason) -> None:
        while True:
            # A worker that is stopped by the operating system does not answer, so nothing waits for it.
            with suppress(OSError, TimeoutError):
                arguments = (self._campaign, reason.state.value, reason.message)
                async with asyncio.timeout(_STOP_INTERVAL):
                    await self._client.run(stop_lanes, *arguments, on_error="ignore")
            await asyncio.sleep(_STOP_INTERVAL)

    def _receive(self, event: tuple[float, Mapping[str, Any]]) -> None:
        _, message = event
        for name, values in message.get("progress", {}).items():
            if name in self._running:
                self._progress[name] = Progress(**values)
        self._on_report(message)

    async def _check_versions(self) -> None:
        """Check the workers that answer; `run_lane_task` checks those that are slow, or join later."""
        own = versions()
        answers: dict[str, Any] = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                answers = await self._client.run(versions, on_error="return")
        for worker, answer in answers.items():
            if isinstance(answer, OSError):  # the worker has just died
                continue
            if isinstance(answer, Exception):
                raise UsageError(f"worker {worker} has no usable asyncgg: {answer}; install {own['asyncgg']} there")
            if difference := describe_difference(own, answer):
                raise UsageError(f"worker {worker} has {difference}; install the versions of this host there")
        if not answers:
            self._show(self._address, "no worker answers yet; lanes start when one joins")
