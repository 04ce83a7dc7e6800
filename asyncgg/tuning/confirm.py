"""Run a configuration in real time against the simulator, with a durable journal."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from asyncgg.errors import InternalError
from asyncgg.runs.run import Run
from asyncgg.settings import build_settings
from asyncgg.testing import JitteredLatency, Scenario
from asyncgg.tuning.models import Configuration, Trial, Workload
from asyncgg.tuning.settings_file import to_settings

_TARGET_SECONDS: Final = 4.0
"""Duration of one confirmation at the quota."""
_MAX_BATCHES: Final = 800
"""Batches of one confirmation: a service with a large quota finishes sooner."""


@dataclass(frozen=True, slots=True)
class ConfirmedTrial:
    """The same workload and configuration in real time and on the virtual clock."""

    real_time: Trial
    virtual_time: Trial


def confirmation_workload(scenario: Scenario, workload: Workload) -> Workload:
    """Return a workload short enough for real time."""
    batches = int(min(_MAX_BATCHES, workload.batches, max(20.0, _TARGET_SECONDS * scenario.quota + scenario.burst)))
    cores = max(1, min(workload.cores, batches))
    # All cores of the simulator have the same size.
    return Workload(cores * max(1, batches // cores), cores)


def simulator_settings(scenario: Scenario, workload: Workload) -> dict[str, str] | None:
    """Return the simulator options for a scenario.

    Return None if the simulator lacks a feature: background rate, changes, recorded latencies.
    """
    latency = scenario.latency
    if scenario.changes or scenario.background_rate or not isinstance(latency, JitteredLatency):
        return None
    settings = {
        "rate": f"{scenario.quota!r}",
        "burst": f"{scenario.burst!r}",
        "latency-ms": f"{latency.base * 1000!r}",
        "jitter-ms": f"{latency.jitter * 1000!r}",
        "cores": f"{workload.cores}",
        "things": f"{100 * workload.batches // workload.cores}",
    }
    if scenario.retry_after:
        settings["retry-after"] = f"{max(1, round(scenario.retry_after))}"
    if scenario.faults:
        settings["fault"] = f"500={100 * scenario.faults[0].share:g}%"
    return settings


async def confirm(config: Configuration, url: str, journal: Path) -> Trial:
    """Disassociate the whole fleet of the simulator at `url` and leave the journal in place.

    The credentials are those of the environment. Raises the same errors as `Run`.
    """
    async with aiohttp.ClientSession(trust_env=False) as http:
        await http.post(f"{url}/_sim/reset")
        async with http.get(f"{url}/_sim/manifest.csv") as response:
            rows = list(csv.DictReader(io.StringIO(await response.text())))
        overrides = {"endpoint_url": url, "region": "us-east-1", "journal": journal}
        async with Run(rows, settings=build_settings(overrides, to_settings(config))) as run:
            pass
        async with http.get(f"{url}/_sim/counters") as response:
            counters = await response.json()
    if run.summary is None:
        raise InternalError("a run ended without a summary")
    summary = run.summary
    return Trial(
        config, summary.seconds, summary.sent, summary.throttled, counters["max_in_flight"], summary.pending == 0
    )
