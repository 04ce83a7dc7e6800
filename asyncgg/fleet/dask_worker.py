"""Runs lanes in the worker processes of a Dask cluster; requires distributed."""

from __future__ import annotations

import asyncio
import json
import platform
from collections.abc import Mapping
from contextvars import ContextVar, copy_context
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from distributed import Worker, get_worker

from asyncgg import __version__
from asyncgg.engine import StopReason
from asyncgg.errors import UsageError
from asyncgg.file_limit import fit_concurrency
from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.campaign_state import CampaignState
from asyncgg.fleet.lane_reports import REPORT_INTERVAL, LaneReports, ReportHandler
from asyncgg.fleet.local import LocalExecutor
from asyncgg.fleet.results import LaneResult, failed_result
from asyncgg.journal.schema import FORMAT
from asyncgg.models import RunState
from asyncgg.runs import RunMode
from asyncgg.sharing import sharing
from asyncgg.telemetry.log_records import ROOT

_MAX_OPEN_FILES: Final = 4096

_campaign: ContextVar[str] = ContextVar("asyncgg_campaign", default="")
"""The campaign whose lane runs."""
_hosts: dict[str, _LaneHost] = {}
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
    lane = CampaignLane(**task["lane"] | {"journal": Path(task["lane"]["journal"])})
    worker = get_worker()
    if difference := describe_difference(task["versions"], versions()):
        error = UsageError(f"worker {worker.address} has {difference}; install the versions of the driver")
        return json.dumps(failed_result(LaneResult.without_journal(lane.name, lane.journal), error).to_dict())
    host = _hosts.get(task["start"])
    if host is None:
        host = _hosts[task["start"]] = _LaneHost(worker, task)
    return json.dumps((await host.run_lane(lane)).to_dict())


def stop_lanes(campaign: str, state: str, message: str) -> None:
    """Stop the lanes of the campaign in this worker, also those of an earlier start."""
    for host in list(_hosts.values()):
        if host.campaign == campaign:
            host.executor.stop(StopReason(RunState(state), message))


class _LaneHost:
    """The lanes of one start of a campaign in this process. They share clients and credentials."""

    def __init__(self, worker: Worker, task: Mapping[str, Any]) -> None:
        state = CampaignState(**task["state"])
        self.campaign = state.id
        self._start = task["start"]
        self._worker = worker
        self._lanes = 0
        self._reports = LaneReports(
            self._write,
            lambda: self.executor.progress(),
            has_metrics=task["metrics"] and find_spec("prometheus_client") is not None,
        )
        with sharing():
            self._context = copy_context()
        self._context.run(_campaign.set, self.campaign)
        self._log_level = task["level"]
        self.executor = LocalExecutor(
            RunMode(task["mode"]),
            task["overrides"],
            state,
            on_message=self._reports.message,
            listeners_for=self._reports.listeners_for,
            temporary_folder=Path(worker.local_directory),
        )
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._serving = asyncio.create_task(self._serve(), name="asyncgg-lane-host", context=self._context)

    async def run_lane(self, lane: CampaignLane) -> LaneResult:
        """Run the lane. Raises nothing: an error is its result."""
        self._lanes += 1
        try:
            await asyncio.shield(self._opened)
            return await asyncio.create_task(self.executor.run_lane(lane), context=self._context)
        except Exception as error:  # noqa: BLE001 - the driver shows it as that of the lane
            return failed_result(LaneResult.without_journal(lane.name, lane.journal), error)
        finally:
            self._lanes -= 1

    async def _serve(self) -> None:
        """Report until the last lane has ended."""
        fit_concurrency(_MAX_OPEN_FILES)  # raises the limit
        handler = ReportHandler(self._write, lambda: _campaign.get() == self.campaign)
        ROOT.setLevel(self._log_level)
        ROOT.addHandler(handler)
        try:
            async with self.executor:
                self._opened.set_result(None)
                while self._lanes:
                    self._reports.report()
                    await asyncio.sleep(REPORT_INTERVAL)
                _hosts.pop(self._start, None)  # before what the lanes share is closed
        except Exception as error:  # noqa: BLE001 - it is that of every lane
            if not self._opened.done():
                self._opened.set_exception(error)
        finally:
            _hosts.pop(self._start, None)
            ROOT.removeHandler(handler)

    def _write(self, message: Mapping[str, Any]) -> None:
        self._worker.log_event(topic(self.campaign), message)
