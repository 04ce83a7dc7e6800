"""Fixtures of the command line tests: an isolated environment, a runner and a simulator."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from asyncgg.cli import main
from asyncgg.simulator import FleetSpec, Simulator
from tests.support.command_line import CommandResult, CommandRunner, isolated_environment, manifest_text, small_fleet
from tests.support.fleet_targets import write_targets
from tests.support.moto_server import moto_url
from tests.support.simulator import fast_config, threaded_simulator

__all__ = ["moto_url"]

StartSimulator = Callable[..., Simulator]
StartTargets = Callable[..., list[Simulator]]


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in an empty folder, without AWS and asyncgg variables of the user."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("AWS_", "ASYNCGG_")):
            monkeypatch.delenv(name)
    for name, value in isolated_environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> CommandRunner:
    """Runs a command in this process."""

    def run_command(*arguments: object) -> CommandResult:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return CommandResult(code, *capsys.readouterr())

    return run_command


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StartSimulator]:
    """Starts a simulator, sets AWS_ENDPOINT_URL and writes its manifest to fleet.csv."""
    with ExitStack() as stack:

        def start_simulator(plan: FleetSpec | None = None, **settings: Any) -> Simulator:
            plan = plan or small_fleet()
            simulator = stack.enter_context(threaded_simulator(fast_config(**settings), plan))
            monkeypatch.setenv("AWS_ENDPOINT_URL", simulator.url)
            (tmp_path / "fleet.csv").write_text(manifest_text(plan), encoding="utf-8")
            return simulator

        yield start_simulator


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[StartTargets]:
    """Starts a simulator for each target, and writes targets.toml and fleet.csv."""
    with ExitStack() as stack:

        def start(*settings: dict[str, Any], plan: FleetSpec | None = None) -> list[Simulator]:
            plan = plan or small_fleet()
            simulators = [
                stack.enter_context(threaded_simulator(fast_config(account=f"{number}" * 12, **values), plan))
                for number, values in enumerate(settings, 1)
            ]
            quotas = {
                number: f"quota = {values['rate']}\nburst = {values['burst']}\n"
                for number, values in enumerate(settings, 1)
                if "rate" in values
            }
            write_targets(tmp_path, [simulator.url for simulator in simulators], plan, "quota = 1000", quotas)
            return simulators

        yield start


class Webhook:
    """A webhook server, and the messages it received."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.status = 200
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                webhook.received.append(json.loads(body))
                self.send_response(webhook.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/secret"


@pytest.fixture
def hook() -> Iterator[Webhook]:
    """A running webhook."""
    webhook = Webhook()
    thread = threading.Thread(target=webhook.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield webhook
    webhook.server.shutdown()
    thread.join()
    webhook.server.server_close()
