"""Rule: what every benchmark needs of the simulator: a process of its own on loopback, asked for what it saw."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["ENVIRONMENT", "ObservedRun", "query_simulator", "simulator"]

ENVIRONMENT: Mapping[str, str] = {
    "AWS_ACCESS_KEY_ID": "AKIDBENCHMARK",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""For whatever talks to the simulator: nobody's real credentials."""


@contextmanager
def simulator(**options: object) -> Iterator[str]:
    """A simulator with these options, in a process of its own; gives its URL and ends it."""
    arguments = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "asyncgg.simulator", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def query_simulator(url: str, path: str) -> Any:
    """What the simulator tells at `path` under /_sim, decoded when it is JSON."""
    with urllib.request.urlopen(f"{url}/_sim/{path}", timeout=30) as response:
        text = response.read().decode()
    return text if path.endswith(".csv") else json.loads(text)


class ObservedRun:
    """One client's run, as the simulator saw it."""

    def __init__(self, url: str) -> None:
        counters = query_simulator(url, "counters")
        log = [row for row in query_simulator(url, "requests") if "Disassociate" in row["operation"]]
        self.sent = len(log)
        self.throttled = int(counters["throttled"])
        self.seconds = log[-1]["time"] - log[0]["time"]
        """Between the arrivals of the first and the last request."""
        self.remaining = sum(len(things) for things in query_simulator(url, "state").values())
        """Associations that were not ended."""
