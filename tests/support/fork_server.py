"""A process that has imported asyncgg and forks a child for each program, so that the tests import it once."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from asyncgg.cli.app import COMMANDS, root_command

# `python -m tests.support.fork_server FD` reads requests from a socket: a line of JSON with the module, arguments,
# folder and environment of a program, and four descriptors: its standard streams and the pipe of its status. For
# each request it forks a supervisor, which forks the program, writes its process id to the pipe, waits for it and
# writes its exit code. The program ends like any Python process: its interpreter shuts down.

_ROOT = Path(__file__).parents[2]
_MAX_REQUEST = 65536
_lock = threading.Lock()
_connections: list[socket.socket] = []


class ForkedProcess:
    """A program of the fork server, with those members of `subprocess.Popen` that the tests use."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> None:
        self.args = [module, *arguments]
        self.returncode: int | None = None
        self.stdout, out = _output(stdout)
        self.stderr, err = _output(stderr)
        status, status_fd = _output(subprocess.PIPE)
        assert status is not None
        self._status = status
        null = os.open(os.devnull, os.O_RDONLY)
        source = null if stdin == subprocess.DEVNULL else stdin if isinstance(stdin, int) else stdin.fileno()
        request = {"module": module, "arguments": list(arguments), "folder": str(cwd), "env": dict(env)}
        descriptors = [out, err, status_fd]
        try:
            with _lock:  # until the process id arrives, so that requests do not mix
                socket.send_fds(_connect(), [json.dumps(request).encode() + b"\n"], [source, *descriptors])
                self.pid = int(self._status.readline())
        finally:
            for descriptor in (null, *descriptors):
                os.close(descriptor)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the program ends; returns its exit code. Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def poll(self) -> int | None:
        """The exit code, or None while the program runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the program has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)


def _output(kind: int) -> tuple[IO[bytes] | None, int]:
    """The reader of an output, if it is a pipe, and the descriptor to write to."""
    if kind == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_WRONLY)
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb", buffering=0), writing


def _connect() -> socket.socket:
    """The connection to the server of this process; starts it first."""
    if not _connections:
        own, its = socket.socketpair()
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fork_server", str(its.fileno())],
            cwd=_ROOT,
            env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONWARNINGS": "error"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
            preexec_fn=_drop_privileges,
            start_new_session=True,  # Ctrl-C must reach pytest only
        )
        its.close()
        _connections.append(own)
        atexit.register(process.wait)
        atexit.register(own.close)  # runs before the wait, and ends the server
    return _connections[0]


def _drop_privileges() -> None:
    """Make file permissions bind the programs, even if the user is root."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
                raise OSError(ctypes.get_errno(), "a capability cannot be dropped")


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """The next request; empty when the client has closed the connection."""
    text, descriptors, _, _ = socket.recv_fds(connection, _MAX_REQUEST, 4)
    while text and not text.endswith(b"\n"):
        text += connection.recv(_MAX_REQUEST)
    return text, descriptors


def _serve(connection: socket.socket) -> dict[str, Any] | None:
    """Fork for each request. Returns the request in the program's own process, and None at the end of the server."""
    while (received := _receive(connection))[0]:
        text, descriptors = received
        with contextlib.suppress(ChildProcessError):  # none is left
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass  # a supervisor that has ended
        if not os.fork():
            connection.close()
            *streams, status = descriptors
            program = os.fork()
            if not program:
                os.close(status)
                for number, descriptor in enumerate(streams):
                    os.dup2(descriptor, number)
                    os.close(descriptor)
                request: dict[str, Any] = json.loads(text)
                return request
            for descriptor in streams:
                os.close(descriptor)
            with contextlib.suppress(OSError):  # the test has ended
                os.write(status, b"%d\n" % program)
                os.write(status, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(program, 0)[1]))
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
    return None


def _main() -> None:
    for name in COMMANDS:
        root_command.get_command(None, name)
    for module in ("asyncgg.cli.workflow", "asyncgg.simulator"):
        import_module(module)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        request = _serve(connection)
    if request is not None:
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["folder"])
        sys.argv = ["asyncgg", *request["arguments"]]
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
