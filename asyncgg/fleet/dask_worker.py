"""Runs lanes in the worker processes of a Dask cluster; requires distributed."""

from __future__ import annotations

import asyncio
import json
import platform
from collections.abc import Mapping
from contextvars import ContextVar, copy_context
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from distributed import Worker, get_worker

from asyncgg import __version__
from asyncgg.engine import StopReason
from asyncgg.errors import UsageError
from asyncgg.file_limit import fit_concurrency
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.lane_host import HostOptions, LaneHost
from asyncgg.fleet.results import LaneResult, failed_result
from asyncgg.journal.schema import FORMAT
from asyncgg.models import RunState
from asyncgg.sharing import sharing

_MAX_OPEN_FILES: Final = 4096

_campaign: ContextVar[str] = ContextVar("asyncgg_campaign", default="")
"""The campaign whose lane runs."""
_hosts: dict[str, _SharedHost] = {}
"""By the ID of the start of a campaign."""


def topic(campaign: str) -> str:
    """The topic of the reports about a campaign. They are of all of its starts."""
    return f"asyncgg-{campaign}"


def versions() -> dict[str, str]:
    """What must be the same here and at the driver."""
    return {
        "asyncgg": __version__,
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "distributed": version("distributed"),
        "journal format": str(FORMAT.version),
    }


def describe_difference(own: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Which versions differ, as one line; empty if none does."""
    return ", ".join(
        f"{name} {other.get(name, 'missing')} instead of {wanted}"
        for name, wanted in own.items()
        if other.get(name) != wanted
    )


async def run_lane_task(text: str) -> str:
    """The Dask task of a lane: the JSON text of its result. `text` has no secrets: the scheduler keeps it."""
    task = json.loads(text)
    worker = get_worker()
    if difference := describe_difference(task["versions"], versions()):
        error = UsageError(f"worker {worker.address} has {difference}; install the versions of the driver")
        return json.dumps(_failed(task["lane"], error))
    host = _hosts.get(task["start"])
    if host is None:
        host = _hosts[task["start"]] = _SharedHost(worker, task["start"], HostOptions.from_dict(task["options"]))
    return json.dumps(await host.run_lane(task["lane"]))


def _failed(document: Mapping[str, Any], error: Exception) -> dict[str, Any]:
    lane = CampaignLane.from_dict(document)
    return failed_result(LaneResult.without_journal(lane.name, lane.journal), error).to_dict()


def stop_lanes(campaign: str, state: str, message: str) -> None:
    """Stop the lanes of the campaign in this worker, also those of an earlier start."""
    for host in list(_hosts.values()):
        if host.campaign == campaign:
            host.executor.stop(StopReason(RunState(state), message))


class _SharedHost:
    """A `LaneHost` for the lanes of one start of a campaign, from the first to the last one in this process.

    They share clients and credentials.
    """

    def __init__(self, worker: Worker, start: str, options: HostOptions) -> None:
        assert options.state is not None
        self.campaign = options.state.id
        self._start = start
        self._worker = worker
        self._lanes = 0
        self._ended = asyncio.Event()
        with sharing():
            self._context = copy_context()
        self._context.run(_campaign.set, self.campaign)
        self._host = LaneHost(
            options,
            self._write,
            is_own_log=lambda: _campaign.get() == self.campaign,
            temporary_folder=Path(worker.local_directory),
        )
        self.executor = self._host.executor
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._serving = asyncio.create_task(self._serve(), name="asyncgg-lane-host", context=self._context)

    async def run_lane(self, lane: Mapping[str, Any]) -> dict[str, Any]:
        """As `LaneHost.run_lane`."""
        self._lanes += 1
        try:
            await asyncio.shield(self._opened)
            return await asyncio.create_task(self._host.run_lane(lane), context=self._context)
        except Exception as error:  # noqa: BLE001 - the host could not be opened, which is the result of every lane
            return _failed(lane, error)
        finally:
            self._lanes -= 1
            if not self._lanes:  # a lane that comes later gets another host
                _hosts.pop(self._start, None)
                self._ended.set()

    async def _serve(self) -> None:
        """Keep the host open until the last lane has ended."""
        fit_concurrency(_MAX_OPEN_FILES)  # raises the limit
        try:
            async with self._host.running():
                self._opened.set_result(None)
                await self._ended.wait()
        except Exception as error:  # noqa: BLE001 - it is that of every lane
            if not self._opened.done():
                self._opened.set_exception(error)

    def _write(self, message: Mapping[str, Any]) -> None:
        self._worker.log_event(topic(self.campaign), message)
