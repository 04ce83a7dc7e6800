"""A process that has imported the command line and forks a child for each command."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from asyncgg.cli.app import COMMANDS, root_command
from tests.support.programs import ProgramResult, drop_privileges, program_environment

# `python -m tests.support.fork_server` reads one JSON object per line: arguments, folder, environment and the
# paths of the three standard streams. It writes the exit code of each command. Eighty commands thus share
# one import of the package.


class ForkServer:
    """Context manager for the server; file permissions bind its commands even if the user is root."""

    def __init__(self, home: Path) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fork_server"],
            env=program_environment(home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=drop_privileges,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def run(self, arguments: Sequence[str], folder: Path, env: Mapping[str, str], stdin: Path) -> ProgramResult:
        """Run `asyncgg ARGUMENTS...` in `folder` until it ends."""
        out, err = (folder.parent / f"{folder.name}.{name}" for name in ("out", "err"))
        request = {
            "arguments": list(arguments),
            "folder": str(folder),
            "env": dict(env),
            "streams": [str(stdin), str(out), str(err)],
        }
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
        return ProgramResult(code, out.read_text(), err.read_text())


def _run_command(request: Mapping[str, Any]) -> int:
    """Run the command in the child."""
    modes = (os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number, (path, mode) in enumerate(zip(request["streams"], modes, strict=True)):
        os.dup2(os.open(path, mode, 0o644), number)
    sys.stdin = os.fdopen(0)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["folder"])
    sys.argv = ["asyncgg", *request["arguments"]]
    code = int(import_module("asyncgg.cli").main())
    gc.collect()  # reports unclosed resources now
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _serve() -> None:
    for name in COMMANDS:
        root_command.get_command(None, name)
    import_module("asyncgg.transport")
    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if not child:
            code = 255
            try:
                code = _run_command(json.loads(line))
            finally:
                os._exit(code)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
