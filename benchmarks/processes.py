"""Run servers and clients in separate processes and measure their time, CPU and memory."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["ENVIRONMENT", "ProcessUsage", "SendMeter", "run_measured", "server_process"]

ENVIRONMENT: Final[Mapping[str, str]] = {
    "AWS_ACCESS_KEY_ID": "AKIDBENCHMARK",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Environment of all clients: no real credentials."""

# A process inherits the peak memory of its parent, so a small launcher starts each client.

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
    """Output and usage of a process and of the children that it waited for."""

    output: str
    seconds: float
    cpu_seconds: float
    peak_mb: float
    """Resident memory, in MB (10**6 bytes)."""
    samples: list[tuple[float, float]]
    """(seconds since the start, MB resident), if requested and /proc exists."""


@contextmanager
def server_process(*arguments: str) -> Iterator[str]:
    """Run a Python command that prints its URL and serves until SIGTERM; yield the URL."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def run_measured(command: Sequence[str], *, sample_every: float = 0.0, expected_code: int = 0) -> ProcessUsage:
    """Run a Python command, given without the interpreter. Raises RuntimeError for another exit code."""
    completed = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(sample_every), sys.executable, *command],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
    )
    *output, last = completed.stdout.splitlines()
    usage: dict[str, Any] = json.loads(last)
    if usage["code"] != expected_code:
        raise RuntimeError(f"{' '.join(command)}: exit {usage['code']}\n{completed.stderr[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    samples = [(at, size) for at, size in usage["samples"]]
    return ProcessUsage("\n".join(output), usage["seconds"], usage["cpu_seconds"], usage["peak"] * unit / 1e6, samples)


class SendMeter:
    """Measures the sending of a client, without its start and the reading of the manifest."""

    def __enter__(self) -> SendMeter:
        self._cpu, self._started = _cpu_seconds(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.cpu_seconds = time.perf_counter() - self._started, _cpu_seconds() - self._cpu

    def report(self, *, sent: int, lost: int) -> None:
        """Print the measurement for the benchmark that started this process."""
        print(json.dumps({"sent": sent, "lost": lost, "seconds": self.seconds, "cpu_seconds": self.cpu_seconds}))


def _cpu_seconds() -> float:
    usages = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
