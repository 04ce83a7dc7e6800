"""The fast loopback server in a process of its own, and the CPU it has used."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["loopback_server", "server_cpu_seconds"]


@contextmanager
def loopback_server() -> Iterator[str]:
    """The fast server; gives its URL and ends it."""
    command = [sys.executable, "-m", "benchmarks.loopback_server"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def server_cpu_seconds(url: str) -> float:
    """CPU seconds the server has used so far."""
    with urllib.request.urlopen(url, timeout=30) as response:
        return float(json.load(response)["cpu_seconds"])
