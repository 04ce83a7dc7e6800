"""Helpers to start, observe and end asyncgg and the simulator as processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from tests.support.fork_server import ForkedProcess

ROOT = Path(__file__).parents[2]
TIMEOUT = 60.0
"""Seconds until a wait fails."""

Pair = tuple[str, str]


def program_environment(home: Path, **overrides: str) -> dict[str, str]:
    """The environment of a program: no credentials or configuration of the user, and warnings are errors."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        "AWS_ACCESS_KEY_ID": "AKIDTEST",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "ASYNCGG_QUOTA": "1000",  # else a run with a higher --rate starts at the documented 30/s
        **overrides,
    }


@dataclass(frozen=True)
class ProgramResult:
    """Exit code and output of a program."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        """Standard output, which must be one JSON object."""
        document: dict[str, Any] = json.loads(self.out)
        return document

    def describe(self) -> str:
        """All fields, for the message of a failed assertion."""
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Program:
    """Context manager that runs `asyncgg ARGUMENTS...` and collects its output.

    The process is forked from one that has imported asyncgg; with `before_start` it is `python -m asyncgg`.
    """

    def __init__(
        self,
        *arguments: object,
        home: Path,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        before_start: Callable[[], object] | None = None,
    ) -> None:
        words = list(map(str, arguments))
        variables = program_environment(home) if env is None else dict(env)
        self.process: ForkedProcess | subprocess.Popen[bytes]
        if before_start is None:
            self.process = ForkedProcess("asyncgg", words, cwd=home, env=variables, stdin=stdin)
        else:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "asyncgg", *words],
                cwd=home,
                env=variables,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                preexec_fn=before_start,
            )
        self._output = {"out": "", "err": ""}
        self._output_changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._collect_output, args=(name, stream), daemon=True)
            for name, stream in (("out", self.process.stdout), ("err", self.process.stderr))
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()

    def _collect_output(self, name: str, stream: IO[bytes]) -> None:
        with stream:
            while chunk := os.read(stream.fileno(), 65536):
                with self._output_changed:
                    self._output[name] += chunk.decode()
                    self._output_changed.notify_all()

    def wait_for_message(self, pattern: str) -> str:
        """Wait until standard error matches; returns the match."""
        with self._output_changed:
            match = self._output_changed.wait_for(lambda: re.search(pattern, self._output["err"]), TIMEOUT)
            assert match, f"standard error does not match {pattern!r}: {self._output['err']}"
            return str(match[0])

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until `condition()` is true; fail if the program ends before or if it takes too long."""
        end = time.monotonic() + TIMEOUT
        while not condition():
            assert self.process.poll() is None, self.wait().describe()
            assert time.monotonic() < end, "the condition was not met in time"
            time.sleep(0.005)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    def wait(self) -> ProgramResult:
        """Wait until the program ends."""
        try:
            code = self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the program did not end within {TIMEOUT:g} s: {self._output}") from None
        for reader in self._readers:
            reader.join(TIMEOUT)
        return ProgramResult(code, self._output["out"], self._output["err"])


def run_asyncgg(*arguments: object, home: Path, **options: Any) -> ProgramResult:
    """Run a command until it ends."""
    with Program(*arguments, home=home, **options) as program:
        return program.wait()


class SimulatorProcess:
    """Context manager that runs `asyncgg simulator` as a process."""

    def __init__(self, home: Path, *faults: str, **options: object) -> None:
        self._home = home
        arguments = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        arguments += [word for fault in faults for word in ("--fault", fault)]
        self._process = ForkedProcess(
            "asyncgg.simulator",
            ["--port", "0", *arguments],
            cwd=home,
            env=program_environment(home),
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().decode().strip()
        if not self.url:
            self.__exit__()
            raise AssertionError(f"the simulator did not start: {arguments}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdout is not None
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process.stdout.close()

    def query(self, path: str) -> Any:
        """The JSON document at this path below /_sim."""
        with urllib.request.urlopen(f"{self.url}/_sim/{path}", timeout=TIMEOUT) as response:
            return json.load(response)

    def configure(self, path: str, **document: object) -> None:
        """Post a change, for example of faults or quota."""
        body = json.dumps(document).encode()
        urllib.request.urlopen(
            urllib.request.Request(f"{self.url}/_sim/{path}", data=body, method="POST"), timeout=TIMEOUT
        ).close()

    def write_manifest(self, name: str = "fleet.csv") -> Path:
        """Write the manifest of the fleet, which includes associations that do not exist."""
        path = self._home / name
        with urllib.request.urlopen(f"{self.url}/_sim/manifest.csv", timeout=TIMEOUT) as response:
            path.write_bytes(response.read())
        return path

    def associations(self) -> set[Pair]:
        """The current associations."""
        return {(core, thing) for core, things in self.query("state").items() for thing in things}

    def resent_after_success(self) -> set[Pair]:
        """Things that were sent again after their success."""
        things = self.query("things")["resent_after_success"]
        return {(core, thing) for core, names in things.items() for thing in names}

    def request_count(self) -> int:
        """Number of disassociate requests received."""
        return int(self.query("counters")["requests"].get("BatchDisassociateClientDeviceFromCoreDevice", 0))

    def wait_until(self, condition: Callable[[Mapping[str, Any]], bool], program: Program | None = None) -> bool:
        """Wait until the counters meet the condition; False if the program ends before."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            if condition(self.query("counters")):
                return True
            if program is not None and program.process.poll() is not None:
                return False
            time.sleep(0.01)
        raise AssertionError(f"the condition was not met; the counters are {self.query('counters')}")
