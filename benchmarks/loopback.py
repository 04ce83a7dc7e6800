"""The fast loopback server in a process of its own, and the CPU it has used."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["server", "server_cpu"]


@contextmanager
def server() -> Iterator[str]:
    """The fast server; gives its URL and ends it."""
    command = [sys.executable, "-m", "benchmarks.loopback_server"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def server_cpu(url: str) -> float:
    """CPU seconds the server has used so far."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return float(json.load(answer)["cpu_seconds"])
