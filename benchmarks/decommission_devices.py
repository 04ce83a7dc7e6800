"""Quarantine and delete devices at the documented quotas of AWS IoT, with the program and the simulator."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from asyncgg.simulator.iot_api import parse_iot_quotas
from asyncgg.simulator.iot_call import IOT_OPERATIONS
from benchmarks.processes import ENVIRONMENT
from benchmarks.simulator_process import query_simulator, simulator
from benchmarks.tables import write_results

_DEVICES: Final = 2_000
_QUICK_DEVICES: Final = 40
_CORES: Final = 20
_GREENGRASS_QUOTA: Final = 30.0
_ACCOUNT: Final = "123456789012"


def run(quick: bool, _: int | None = None) -> None:
    """Print time, minimum and throttled requests of each stage."""
    devices = _QUICK_DEVICES if quick else _DEVICES
    with (
        tempfile.TemporaryDirectory() as folder,
        simulator(cores=_CORES, things=devices // _CORES + 5, latency_ms=80, rate=_GREENGRASS_QUOTA) as url,
    ):
        names = [f"device-{number:06}" for number in range(1, devices + 1)]
        (Path(folder) / "things.txt").write_text("".join(f"{name}\n" for name in names))
        quarantine = _measure(url, folder, "quarantine", "--things", "things.txt", "--journal", "J")
        delete = _measure(url, folder, "delete", "J", "--min-age", "0", "--expect-account", _ACCOUNT)
    rows = [row | {"devices": devices} for row in (quarantine, delete)]
    for row in rows:
        print(
            f"{row['client']:<10} {row['seconds']:8.1f} s, {row['ratio']:.3f} of {row['slowest']} at its quota,"
            f" {row['throttled']} throttled"
        )
    write_results("decommission_devices", quick=quick, rows=rows)


def _measure(url: str, folder: str, stage: str, *arguments: str) -> dict[str, Any]:
    """Run a stage. Raises RuntimeError if a device is not done."""
    before, started = query_simulator(url, "counters"), time.monotonic()
    completed = subprocess.run(
        [sys.executable, "-m", "asyncgg", "decommission", stage, *arguments, "--yes", "--json", "--quiet"],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, "AWS_ENDPOINT_URL": url, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        check=False,
    )
    seconds, after = time.monotonic() - started, query_simulator(url, "counters")
    log = query_simulator(url, f"requests?last={after['total'] - before['total']}")
    if completed.returncode:
        raise RuntimeError(f"{stage}: exit {completed.returncode}: {completed.stdout.decode()}")
    requests = Counter(after["requests"])
    requests.subtract(before["requests"])
    quotas = parse_iot_quotas(())
    times = {name: count / quotas[name] for name, count in requests.items() if name in IOT_OPERATIONS}
    times["Greengrass"] = sum(count for name, count in requests.items() if name not in quotas) / _GREENGRASS_QUOTA
    slowest = max(times, key=lambda name: times[name])
    return {
        "client": stage,
        "seconds": round(seconds, 1),
        "slowest": slowest,
        "minimum": round(times[slowest], 1),
        "ratio": round(seconds / times[slowest], 3),
        "throttled": after["throttled"] - before["throttled"],
        "requests": dict(+requests),
        "throttled_requests": dict(Counter(row["operation"] for row in log if row["code"] == "ThrottlingException")),
    }
