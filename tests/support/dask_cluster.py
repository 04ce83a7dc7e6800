"""A real Dask scheduler and worker processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_START_TIMEOUT = 30.0


class DaskCluster:
    """A scheduler and `workers` processes in `home`, without nannies: a test starts and kills them itself."""

    def __init__(
        self, home: Path, env: Mapping[str, str], *, workers: int, threads: int = 64, worker_ttl: str = "60s"
    ) -> None:
        """`worker_ttl`: after this time without a sign of a worker its tasks run elsewhere; Dask has 5 min."""
        self._home = home
        self._env = {**os.environ, **env, "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": worker_ttl}
        self._count, self._threads = workers, threads
        self._started = 0
        self.workers: list[subprocess.Popen[bytes]] = []
        self.address = ""

    def __enter__(self) -> Self:
        self._home.mkdir(parents=True, exist_ok=True)
        self.scheduler = self._start("scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1")
        self.address = self._read_address()
        self.workers = [self.start_worker() for _ in range(self._count)]
        for number in range(self._count):  # else one that is ready first gets all lanes
            self._wait_for_log(f"worker-{number + 1}", "Registered to:")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in [*self.workers, self.scheduler]:
            process.kill()
        for process in [*self.workers, self.scheduler]:
            process.wait()

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start one more worker."""
        self._started += 1
        folder = self._home / f"worker-{self._started}"
        folder.mkdir()
        options = ("--nthreads", str(self._threads), "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        return self._start("worker", self.address, *options, "--local-directory", str(folder), cwd=folder)

    def kill_worker(self, index: int) -> None:
        """Kill a worker as a loss of its machine does, and start another one in its place."""
        self.workers[index].kill()
        self.workers[index].wait()
        self.workers[index] = self.start_worker()

    def freeze_worker(self, index: int) -> None:
        """Stop a worker as a suspended machine does."""
        self.workers[index].send_signal(signal.SIGSTOP)

    def thaw_worker(self, index: int) -> None:
        """Let a stopped worker go on."""
        self.workers[index].send_signal(signal.SIGCONT)

    def log(self, name: str) -> str:
        """What a process wrote."""
        return (self._home / f"{name}.log").read_text(errors="replace")

    def _start(self, kind: str, *arguments: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        name = kind if kind == "scheduler" else f"worker-{self._started}"
        with (self._home / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
                cwd=cwd or self._home,
            )

    def _read_address(self) -> str:
        return self._wait_for_log("scheduler", "Scheduler at:").strip()

    def _wait_for_log(self, name: str, text: str) -> str:
        """What follows `text` in its line."""
        end = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < end:
            for line in self.log(name).splitlines():
                if text in line:
                    return line.rpartition(text)[2]
            time.sleep(0.05)
        raise AssertionError(f"the {name} did not start:\n{self.log(name)}")
