"""Rule: the simulator as a program: `python -m asyncgg.simulator --port 0 ...`."""

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
    """The next line of a program's output."""
    assert stream is not None
    return stream.readline().rstrip("\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_url_first_then_serve_until_the_signal(number: signal.Signals) -> None:
    """The URL is the first line of standard output, it serves there, and a signal ends it with exit code 0."""
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
            program.send_signal(number)
            rest, stderr = program.communicate(timeout=10)
        finally:
            program.kill()
    assert (program.returncode, rest) == (0, "")
    assert "/_sim/manifest.csv" in stderr


def test_a_taken_port_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is in use ends with exit code 2 and one line that says what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["--port", str(taken.getsockname()[1])]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "--port 0" in err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--fault", "explode=5%"], "explode=5%"),
        (["--rate", "0"], "rate"),
        (["--port", "70000"], "port 70000"),
        (["--record", "/nowhere/at/all"], "record"),
    ],
)
def test_wrong_options_are_one_sentence(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A value that makes no sense ends with exit code 2 and one line that names it."""
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert word in err
    assert err.count("\n") == 1


def test_every_setting_is_an_option_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The one list of settings is the list of options, each with its help."""
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    output = capsys.readouterr().out
    for option in fields(SimulatorConfig):
        assert f"--{option.name.replace('_', '-')}" in output
        assert option.metadata["help"]
        assert option.metadata["metavar"]


def test_run_refuses_a_port_that_is_none() -> None:
    """A program that calls `run` gets a usage error, not an exit."""
    with pytest.raises(UsageError, match="-1"):
        run(SimulatorConfig(), port=-1)
