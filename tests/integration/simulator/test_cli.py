"""Tests of `python -m asyncgg.simulator`."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import fields
from typing import IO

import pytest

from asyncgg.errors import UsageError
from asyncgg.simulator import SimulatorConfig, run
from asyncgg.simulator.cli import main

PROGRAM = [sys.executable, "-m", "asyncgg.simulator"]


def read_line(stream: IO[str] | None) -> str:
    """Read the next line of a program."""
    assert stream is not None
    return stream.readline().rstrip("\n")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_program_prints_url_and_serves_until_signal(signum: signal.Signals) -> None:
    """The first line of output is the URL, and a signal ends the program with exit code 0."""
    options = ["--port", "0", "--cores", "2", "--things", "3", "--fault", "500=1%", "--fault", "hang=1%"]
    with subprocess.Popen([*PROGRAM, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            url = read_line(program.stdout)
            assert url.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(f"{url}/_sim/state", timeout=5) as response:
                state = json.load(response)
            with urllib.request.urlopen(f"{url}/_sim/config", timeout=5) as response:
                assert json.load(response)["fault"] == ["500=1%", "hang=1%"]
            assert {core: len(things) for core, things in state.items()} == {"core-00001": 3, "core-00002": 3}
            program.send_signal(signum)
            rest, stderr = program.communicate(timeout=10)
        finally:
            program.kill()
    assert (program.returncode, rest) == (0, "")
    assert "/_sim/manifest.csv" in stderr


def test_port_in_use_is_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A port in use gives exit code 2 and one line with a solution."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert main(["--port", str(listener.getsockname()[1])]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "--port 0" in err


@pytest.mark.parametrize(
    ("arguments", "message_part"),
    [
        (["--fault", "explode=5%"], "explode=5%"),
        (["--rate", "0"], "rate"),
        (["--rate", "fast"], "--rate"),
        (["--speed", "1"], "--speed"),
        (["--port", "70000"], "port 70000"),
        (["--record", "/missing/directory/file"], "record"),
    ],
)
def test_invalid_option_is_usage_error(
    arguments: list[str], message_part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An invalid value gives exit code 2 and one line that names it."""
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert message_part in err
    assert err.count("\n") == 1


def test_every_setting_is_an_option_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Every field of `SimulatorConfig` is an option with help."""
    assert main(["--help"]) == 0
    output = capsys.readouterr().out
    for option in fields(SimulatorConfig):
        assert f"--{option.name.replace('_', '-')}" in output
        assert option.metadata["help"]
        assert option.metadata["metavar"]


def test_run_invalid_port_raises() -> None:
    """`run` raises a usage error instead of exiting."""
    with pytest.raises(UsageError, match="-1"):
        run(SimulatorConfig(), port=-1)
