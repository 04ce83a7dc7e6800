"""Tests of the processes of `asyncgg demo` and `asyncgg simulator`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from asyncgg.cli.commands import demo
from tests.support.command_line import CommandRunner, isolated_environment, start_process

SMALL = {"cores": "4", "things": "5", "rate": "200", "latency-ms": "1", "missing-things": "2", "missing-cores": "1"}


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """The simulator processes of the demo, with a small fleet."""
    started: list[subprocess.Popen[str]] = []
    real = subprocess.Popen

    def popen(*arguments: object, **how: object) -> subprocess.Popen[str]:
        process = real(*arguments, **how)  # type: ignore[call-overload]  # whatever the demo gives
        if "--until-eof" in process.args:  # not of a background run, which starts processes at the same time
            started.append(process)
        return process  # type: ignore[no-any-return]  # of an overload mypy could not choose

    monkeypatch.setattr(demo, "_FLEET", SMALL)
    monkeypatch.setattr("asyncgg.cli.local_simulator.subprocess.Popen", popen)
    return started


def test_demo_ignores_the_configuration_and_exits_0(
    cli: CommandRunner, monkeypatch: pytest.MonkeyPatch, processes: list[subprocess.Popen[str]]
) -> None:
    """The demo exits 0 with its intended failures and leaves a journal."""
    monkeypatch.setenv("ASYNCGG_RATE", "nonsense")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_PROFILE", "missing")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    Path("asyncgg.toml").write_text("rate = 'nonsense'\n", encoding="utf-8")
    result = cli("demo", "--journal", "demo.journal", "--json")
    assert result.code == 0, result.err
    assert result.json["state"] == "partial"
    assert result.json["things"]["total"] == 4 * 5 + 2 + 5
    assert (result.json["things"]["already"], result.json["failures"]) == (2, {"ResourceNotFoundException": 5})
    assert result.json["next"] == []  # the service of the demo has ended
    assert "The failures are intended" in result.err
    assert "asyncgg report demo.journal --failures failures.csv" in result.err
    assert [process.returncode for process in processes] == [0]
    monkeypatch.delenv("ASYNCGG_RATE")
    assert cli("report", "demo.journal", "--failures", "failures.csv").code == 0


def test_demo_keep_running_waits_for_ctrl_c(
    cli: CommandRunner, monkeypatch: pytest.MonkeyPatch, processes: list[subprocess.Popen[str]]
) -> None:
    """With --keep-running the simulator runs until Ctrl-C; the demo exits 0."""
    observed: list[object] = []

    def interrupt() -> None:
        observed.append(processes[0].poll())
        raise KeyboardInterrupt

    monkeypatch.setattr("asyncgg.cli.commands.demo.signal.pause", interrupt)
    result = cli("demo", "--journal", "demo.journal", "--keep-running", "--quiet")
    assert result.code == 0
    assert observed == [None]
    assert "  asyncgg report demo.journal --failures failures.csv" in result.err
    assert [process.returncode for process in processes] == [0]


def test_demo_failure_ends_the_simulator(cli: CommandRunner, processes: list[subprocess.Popen[str]]) -> None:
    """An existing journal stops the demo and its simulator."""
    Path("taken").touch()
    assert cli("demo", "--journal", "taken").code == 2
    assert [process.returncode for process in processes] == [0]


def test_simulator_serves_until_sigterm() -> None:
    """The first line of standard output is the URL; SIGTERM ends it with 0."""
    process = start_process(
        *(
            "simulator",
            "--port",
            "0",
            "--cores",
            "2",
            "--things",
            "3",
            "--fault",
            "500=5%",
            "--fault",
            "deny@core-00001",
        ),
        cwd=Path(),
        env=isolated_environment(),
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    with urllib.request.urlopen(f"{url}/_sim/config", timeout=10) as answer:
        config = json.load(answer)
    assert config["fault"] == ["500=5%", "deny@core-00001"]
    assert (config["cores"], config["things"]) == (2, 3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_simulator_ends_with_its_parent() -> None:
    """The simulator ends when the pipe from its parent closes, as after kill -9."""
    command = [sys.executable, "-m", "asyncgg.simulator", "--port=0", "--cores=1", "--until-eof"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"http://127.0.0.1:")
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(10) == 0
