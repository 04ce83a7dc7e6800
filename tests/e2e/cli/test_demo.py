"""`asyncgg demo` and `asyncgg simulator`: their processes begin, serve and end."""

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
    """The simulators the demo starts, for a small fleet."""
    started: list[subprocess.Popen[str]] = []
    real = subprocess.Popen

    def popen(*arguments: object, **how: object) -> subprocess.Popen[str]:
        process = real(*arguments, **how)  # type: ignore[call-overload]  # whatever the demo gives
        started.append(process)
        return process  # type: ignore[no-any-return]  # of an overload mypy could not choose

    monkeypatch.setattr(demo, "_FLEET", SMALL)
    monkeypatch.setattr("asyncgg.cli.local_simulator.subprocess.Popen", popen)
    return started


def test_the_demo_is_a_real_run(
    cli: CommandRunner, monkeypatch: pytest.MonkeyPatch, processes: list[subprocess.Popen[str]]
) -> None:
    """It ends with 0 and its staged failures, whatever the user's own configuration is, and leaves a journal."""
    monkeypatch.setenv("ASYNCGG_RATE", "nonsense")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    Path("asyncgg.toml").write_text("rate = 'nonsense'\n", encoding="utf-8")
    ended = cli("demo", "--journal", "demo.journal", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["state"] == "partial"
    assert ended.json["things"]["total"] == 4 * 5 + 2 + 5
    assert ended.json["failures"] == {"ResourceNotFoundException": 7}
    assert "The failures are intended" in ended.err
    assert "asyncgg report demo.journal --failures failures.csv" in ended.err
    assert [process.returncode for process in processes] == [0]
    monkeypatch.delenv("ASYNCGG_RATE")
    assert cli("report", "demo.journal", "--failures", "failures.csv").code == 0


def test_a_kept_simulator_answers_until_ctrl_c(
    cli: CommandRunner, monkeypatch: pytest.MonkeyPatch, processes: list[subprocess.Popen[str]]
) -> None:
    """With --keep-running the journal can be retried meanwhile; Ctrl-C then ends the simulator, and the demo with 0."""
    observed: list[object] = []

    def person() -> None:
        observed.append(processes[0].poll())
        raise KeyboardInterrupt

    monkeypatch.setattr("asyncgg.cli.commands.demo.signal.pause", person)
    ended = cli("demo", "--journal", "demo.journal", "--keep-running", "--quiet")
    assert ended.code == 0
    assert observed == [None]
    assert "  asyncgg retry demo.journal" in ended.err
    assert [process.returncode for process in processes] == [0]


def test_the_simulator_ends_with_a_demo_that_fails(cli: CommandRunner, processes: list[subprocess.Popen[str]]) -> None:
    """A journal that is there already stops the demo, exit 2, and its simulator with it."""
    Path("taken").touch()
    assert cli("demo", "--journal", "taken").code == 2
    assert [process.returncode for process in processes] == [0]


def test_the_simulator_serves_until_sigterm() -> None:
    """The first line of standard output is the URL, the options are the settings, and SIGTERM ends it with 0."""
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


def test_the_simulator_of_a_killed_demo_ends() -> None:
    """Nobody can clean up after kill -9, so the simulator ends when the pipe from the one who started it does."""
    command = [sys.executable, "-m", "asyncgg.simulator", "--port=0", "--cores=1", "--until-eof"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"http://127.0.0.1:")
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(10) == 0
