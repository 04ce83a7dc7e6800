"""Each client in a process of its own, whose CPU, memory and words are taken down; and the clock a client holds itself.

A process is started by a small launcher, since a process inherits the peak memory of the one it was forked from.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.simulator_process import ENVIRONMENT

__all__ = ["ProcessUsage", "SendMeter", "run_measured"]

_LAUNCHER: Final = """
import json, os, sys, threading, time
every, command = float(sys.argv[1]), sys.argv[2:]
started = time.monotonic()
pid = os.posix_spawn(command[0], command, os.environ)
samples = []
def watch():
    page = os.sysconf("SC_PAGE_SIZE")
    while True:
        try:
            with open(f"/proc/{pid}/statm") as file:
                resident = int(file.read().split()[1]) * page / 1e6
        except (OSError, IndexError):
            return
        samples.append((round(time.monotonic() - started, 2), round(resident, 1)))
        time.sleep(every)
if every:
    threading.Thread(target=watch, daemon=True).start()
_, status, used = os.wait4(pid, 0)
print(json.dumps({
    "code": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - started,
    "cpu_seconds": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss, "samples": samples,
}))
"""


@dataclass(frozen=True)
class ProcessUsage:
    """What a process, and what it waited for, took."""

    output: str
    seconds: float
    cpu_seconds: float
    peak_mb: float
    """Resident, in MB (10**6 bytes)."""
    samples: list[tuple[float, float]]
    """(seconds since its start, MB resident), where asked for and there is /proc."""


def run_measured(command: Sequence[str], *, sample_every: float = 0.0) -> ProcessUsage:
    """Run a Python command line (without the interpreter's name) to its end. Raises RuntimeError when it fails."""
    completed = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(sample_every), sys.executable, *command],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
    )
    *output, last = completed.stdout.splitlines()
    usage: dict[str, Any] = json.loads(last)
    if usage["code"]:
        raise RuntimeError(f"{' '.join(command)}: exit {usage['code']}\n{completed.stderr[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    samples = [(at, size) for at, size in usage["samples"]]
    return ProcessUsage("\n".join(output), usage["seconds"], usage["cpu_seconds"], usage["peak"] * unit / 1e6, samples)


class SendMeter:
    """Held by a client around its sending: imports, reading the manifest and loading models are not sending."""

    def __enter__(self) -> SendMeter:
        self._cpu, self._started = _cpu(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.cpu_seconds = time.perf_counter() - self._started, _cpu() - self._cpu

    def report(self, *, sent: int, lost: int) -> None:
        """Tell it to the benchmark that started this process."""
        print(json.dumps({"sent": sent, "lost": lost, "seconds": self.seconds, "cpu_seconds": self.cpu_seconds}))


def _cpu() -> float:
    """Of this process and of those it waited for."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
