"""Rule: the best few settings are tried once more in real time here: sockets, signatures, a synced journal and all."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from asyncgg.errors import InternalError
from asyncgg.runs.library import Run
from asyncgg.settings import build_settings
from asyncgg.testing import JitteredLatency, Scenario
from asyncgg.tuning.block import settings_of
from asyncgg.tuning.values import Point, Trial, Work

__all__ = ["Confirmed", "confirm", "confirm_work", "simulator_settings"]

_SECONDS: Final = 4.0
"""Of the quota, for one confirmation."""
_MOST: Final = 800
"""Batches: a faster service is gone through sooner."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """One point in real time, beside the same on the virtual clock."""

    real: Trial
    virtual: Trial


def confirm_work(script: Scenario, work: Work) -> Work:
    """A short piece of the work: the whole of it would take its time."""
    batches = int(min(_MOST, work.batches, max(20.0, _SECONDS * script.quota + script.burst)))
    cores = max(1, min(work.cores, batches))
    return Work(cores * max(1, batches // cores), cores)  # the simulator's cores are all alike


def simulator_settings(script: Scenario, work: Work) -> dict[str, str] | None:
    """The simulator's options for this service; None when it cannot play it: others, steps, recorded latencies."""
    latency = script.latency
    if script.changes or script.background_rate or not isinstance(latency, JitteredLatency):
        return None
    settings = {
        "rate": f"{script.quota!r}",
        "burst": f"{script.burst!r}",
        "latency-ms": f"{latency.base * 1000!r}",
        "jitter-ms": f"{latency.jitter * 1000!r}",
        "cores": f"{work.cores}",
        "things": f"{100 * work.batches // work.cores}",
    }
    if script.retry_after:
        settings["retry-after"] = f"{max(1, round(script.retry_after))}"
    if script.faults:
        settings["fault"] = f"500={100 * script.faults[0].share:g}%"
    return settings


async def confirm(point: Point, url: str, journal: Path) -> Trial:
    """Run the simulator's whole fleet at this point; `journal` is left.

    The environment's credentials are used, whatever they are. Raises what a `Run` raises.
    """
    async with aiohttp.ClientSession(trust_env=False) as http:
        await http.post(f"{url}/_sim/reset")
        async with http.get(f"{url}/_sim/manifest.csv") as answer:
            rows = list(csv.DictReader(io.StringIO(await answer.text())))
        own = {"endpoint_url": url, "region": "us-east-1", "journal": journal}
        async with Run(rows, settings=build_settings(own, settings_of(point))) as run:
            pass
        async with http.get(f"{url}/_sim/counters") as answer:
            seen = await answer.json()
    if run.summary is None:
        raise InternalError("a run ended without a summary")
    summary = run.summary
    return Trial(point, summary.seconds, summary.sent, summary.throttled, seen["most_in_flight"], summary.pending == 0)
