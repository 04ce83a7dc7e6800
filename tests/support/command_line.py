"""Helpers to run the command line as a process or on a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncgg.simulator import FleetSpec

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example-secret"}


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be exactly one JSON object on one line."""
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


CommandRunner = Callable[..., CommandResult]


def small_fleet(cores: int = 3, things: int = 4) -> FleetSpec:
    """A small fleet: core-1 with thing-1-1, thing-1-2 and so on."""
    return FleetSpec.from_things(
        {f"core-{c}": [f"thing-{c}-{t}" for t in range(1, things + 1)] for c in range(1, cores + 1)}, now=1000.0
    )


def manifest_text(plan: FleetSpec) -> str:
    """The manifest of a fleet."""
    return "core,thing\n" + "".join(f"{core},{thing}\n" for core, thing in plan.pairs())


def isolated_environment(**overrides: str) -> dict[str, str]:
    """The environment without the AWS and asyncgg variables of the user."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ASYNCGG_"))}
    isolated = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "TERM": "xterm",
        "ASYNCGG_QUOTA": "1000",  # else a run with a higher --rate starts at the documented 30/s
    }
    return inherited | isolated | CREDENTIALS | overrides


def start_process(*arguments: str, cwd: Path, env: Mapping[str, str], **options: Any) -> subprocess.Popen[str]:
    """Start the command in a process without a terminal."""
    return subprocess.Popen(
        [sys.executable, "-m", "asyncgg", *arguments],
        cwd=cwd,
        env=env,
        stdin=options.pop("stdin", subprocess.DEVNULL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def wait_until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait until `condition()` is true; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.02)


class Terminal:
    """A process on a pseudo-terminal."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self.screen = ""

    def read_until(self, expected: str, seconds: float = 20.0) -> None:
        """Read the screen until it contains `expected`."""
        end = time.monotonic() + seconds
        while expected not in self.screen:
            assert self._read(end - time.monotonic()), f"{expected!r} was not shown: {self.screen}"

    def type(self, text: str) -> None:
        """Type the text."""
        os.write(self._descriptor, text.encode())

    def read_to_end(self) -> int:
        """Read until the process ends; returns the exit code."""
        while self._read(20.0):
            pass
        return self.process.wait(20)

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._descriptor], [], [], max(seconds, 0))
        try:
            chunk = os.read(self._descriptor, 65536) if ready else b""
        except OSError:  # Linux raises EIO at the end
            chunk = b""
        self.screen += chunk.decode(errors="replace").replace("\r\n", "\n")
        return bool(chunk)


# The first terminal that a session leader opens becomes its controlling terminal, which /dev/tty and Ctrl-C need.
_ACQUIRE_TERMINAL = (
    "import os, sys; os.close(os.open(os.ttyname(2), os.O_RDWR));"
    " os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


@contextmanager
def open_terminal(*arguments: str, cwd: Path, env: Mapping[str, str], stdin: Path | None = None) -> Iterator[Terminal]:
    """Run the command on a new terminal; with `stdin`, that file is its standard input."""
    parent_fd, child_fd = pty.openpty()
    with (stdin or Path(os.devnull)).open("rb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", _ACQUIRE_TERMINAL, "-m", "asyncgg", *arguments],
            cwd=cwd,
            env=env,
            stdin=file if stdin else child_fd,
            stdout=child_fd,
            stderr=child_fd,
            start_new_session=True,
        )
    os.close(child_fd)
    try:
        yield Terminal(process, parent_fd)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(parent_fd)
