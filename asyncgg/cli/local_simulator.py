"""Runs a simulator for one command, isolated from the user's AWS configuration."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Final

from asyncgg.errors import InternalError

_SHUTDOWN_TIMEOUT: Final = 5.0
"""Seconds until a simulator that does not exit is killed."""


@contextlib.contextmanager
def simulator_process(settings: Mapping[str, str]) -> Iterator[str]:
    """Run a simulator with these options on a free port during the block; yields its URL."""
    options = [f"--{name}={value}" for name, value in settings.items()]
    process = subprocess.Popen(  # noqa: S603 - our own module and options
        [sys.executable, "-m", "asyncgg.simulator", "--port=0", "--until-eof", *options],
        stdin=subprocess.PIPE,  # its end, also when this process is killed, ends the simulator
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C must reach this process only
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        url = process.stdout.readline().strip()
        if not url:
            raise InternalError("the simulator did not start; run `asyncgg simulator --port 0` for the reason")
        yield url
    finally:
        process.stdin.close()
        try:
            process.wait(_SHUTDOWN_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@contextlib.contextmanager
def isolated_aws_environment() -> Iterator[None]:
    """Replace AWS, asyncgg and proxy variables by made-up credentials during the block."""
    saved = dict(os.environ)
    simulated = {
        "AWS_ACCESS_KEY_ID": "AKIASIMULATEDSIMULAT",
        "AWS_SECRET_ACCESS_KEY": "simulated",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name in saved:
        if name.upper().startswith(("AWS_", "ASYNCGG_", "BOTO")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(simulated)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)
