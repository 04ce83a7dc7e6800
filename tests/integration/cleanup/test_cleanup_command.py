"""Rule: `asyncgg cleanup` as it is typed lives here: what it prints, whom it tells, how it ends; services are real."""

from __future__ import annotations

import csv
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from asyncgg.simulator import FleetSpec
from benchmarks.cleanup import build_scenario, check_result, policy_text, populate_moto
from tests.integration.cli.conftest import StartSimulator, cli, serve
from tests.support.command_line import CommandRunner

__all__ = ["cli", "serve"]

pytestmark = pytest.mark.usefixtures("unsynced")

FLEET = FleetSpec.from_things({"core-1": ["tmp-1", "tmp-2", "fine-1"], "core-2": ["tmp-3", "fine-2"]}, 1000.0)
POLICY = "[[rule]]\nid = 'leftovers'\nname = 'tmp-*'\n"


class WebhookHandler(http.server.BaseHTTPRequestHandler):
    """A webhook that writes down what it is told, and answers as the test wants."""

    received: ClassVar[list[dict[str, Any]]] = []
    status: ClassVar[int] = 200
    delay: ClassVar[float] = 0.0

    def do_POST(self) -> None:
        self.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        time.sleep(self.delay)
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The webhook, its URL in CLEANUP_WEBHOOK; what it is told."""
    monkeypatch.setattr(WebhookHandler, "received", [])
    monkeypatch.setattr(WebhookHandler, "status", 200)
    monkeypatch.setattr(WebhookHandler, "delay", 0.0)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), WebhookHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("CLEANUP_WEBHOOK", f"http://127.0.0.1:{server.server_port}/secret-path")
    yield WebhookHandler.received
    server.shutdown()
    thread.join()
    server.server_close()


def write_policy(folder: Path, extra: str = "") -> Path:
    """A policy that tells the webhook."""
    path = folder / "nightly.toml"
    path.write_text(f"{POLICY}[notify]\nwebhook = 'env:CLEANUP_WEBHOOK'\n{extra}")
    return path


def test_the_scenario(
    cli: CommandRunner, serve: StartSimulator, moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncgg cleanup nightly.toml --json: against moto and the simulator exactly the right ones go, each explained."""
    cleanup_scenario = build_scenario(8, 12, orphans=21, retired=8, meters=9, prefix="scene-")
    simulator = serve(cleanup_scenario.plan())
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_url)
    populate_moto(cleanup_scenario, moto_url, "scene")
    policy = tmp_path / "nightly.toml"
    policy.write_text(policy_text(cleanup_scenario, moto_url, "scene"))
    ended = cli("cleanup", policy, "--json", "--quiet")
    assert ended.code == 0, ended.err
    fleet = simulator.service.fleet.things
    remaining = {(core, thing) for core, things in fleet.items() for thing in things}
    report = ended.json
    assert list(check_result(cleanup_scenario, remaining, Path(report["files"]["report"]).parent)) == []
    assert cleanup_scenario.protected
    assert report["schema"] == "asyncgg.cleanup/1"
    assert report["run"]["things"]["disassociated"] == report["decisions"]["selected"] == len(cleanup_scenario.expected)
    assert set(cleanup_scenario.expected.values()) == {"orphan", "retired", "unlisted"}
    explained = cli("cleanup", policy, "--explain", min(cleanup_scenario.expected)[1], "--json")
    assert explained.code == 0
    assert explained.json["associations"][0]["verdict"] == "selected"


def test_a_night_in_words(
    cli: CommandRunner, serve: StartSimulator, hook: list[dict[str, Any]], tmp_path: Path
) -> None:
    """asyncgg cleanup nightly.toml: how it went, where the report lies; the webhook is told of it all."""
    serve(FLEET)
    ended = cli("cleanup", write_policy(tmp_path, "[guards]\ncanary = 1\n"))
    assert ended.code == 0, ended.err
    run_directory = next((tmp_path / "nightly.state").glob("2*"))
    lines = ended.out.splitlines()
    assert lines[0] == "policy nightly: complete"
    assert lines[1].startswith("  sweep      2 cores, 5 associations, 3 requests")
    assert "  decided    3 selected, 2 kept" in lines
    assert "  reasons    3: leftovers: name tmp-*" in lines
    assert "  canary     1 things, verified" in lines
    assert f"  report     {run_directory}/report.json" in lines
    assert "the first 1 things have gone, the others wait" in ended.err
    assert "interrupted" not in ended.err
    (message,) = hook
    assert (message["event"], message["policy"]) == ("end", "nightly")
    assert message["text"].startswith("asyncgg nightly: complete: 3 of 3 things disassociated")
    assert message["summary"]["decisions"]["selected"] == 3
    assert json.loads((run_directory / "report.json").read_text())["run"]["things"]["disassociated"] == 3
    assert cli("report", run_directory / "run.journal", "--outcomes", tmp_path / "outcomes.csv").code == 0
    rows = list(csv.DictReader((tmp_path / "outcomes.csv").read_text().splitlines()))
    assert [(row["thing"], row["reason"]) for row in rows] == [
        (f"tmp-{number}", "leftovers: name tmp-*") for number in (1, 2, 3)
    ]


def test_a_guard_is_told(cli: CommandRunner, serve: StartSimulator, hook: list[dict[str, Any]], tmp_path: Path) -> None:
    """asyncgg cleanup nightly.toml: too many; exit 4, nothing sent, the webhook told of a guard."""
    simulator = serve(FLEET)
    ended = cli("cleanup", write_policy(tmp_path, "[guards]\nmax-things = 2\n"))
    assert ended.code == 4
    assert ended.out.startswith(
        "policy nightly: aborted: 3 things are selected, max-things allows 2; nothing was sent\n"
    )
    assert len(simulator.service.fleet) == 5
    assert [message["event"] for message in hook] == ["guard"]


@pytest.mark.parametrize("fault", ["deny-all", "expired-token"])
def test_a_failure_is_told(
    cli: CommandRunner, serve: StartSimulator, hook: list[dict[str, Any]], tmp_path: Path, fault: str
) -> None:
    """asyncgg cleanup nightly.toml: no permission, or no credentials; exit 5, and the webhook told of a failure."""
    serve(FLEET, fault=(fault,))
    ended = cli("cleanup", write_policy(tmp_path))
    assert ended.code == 5, ended.out
    assert [message["event"] for message in hook] == ["failure"]
    assert next((tmp_path / "nightly.state").glob("2*/report.json")).is_file()


def test_before_the_night(
    cli: CommandRunner, serve: StartSimulator, hook: list[dict[str, Any]], tmp_path: Path
) -> None:
    """asyncgg cleanup nightly.toml: an account that is not expected; exit 4, told, and no night is begun."""
    serve(FLEET)
    ended = cli("cleanup", write_policy(tmp_path, "[guards]\nexpect-account = '999999999999'\n"))
    assert ended.code == 4
    assert "expect-account" in ended.err
    assert [message["event"] for message in hook] == ["guard"]
    assert not (tmp_path / "nightly.state").exists()


def test_an_empty_list_of_what_must_stay(
    cli: CommandRunner, serve: StartSimulator, hook: list[dict[str, Any]], tmp_path: Path
) -> None:
    """asyncgg cleanup nightly.toml: the list is empty, so everything could go; exit 2, told, nothing begun."""
    serve(FLEET)
    (tmp_path / "keep.txt").write_text("# nothing\n")
    policy = write_policy(tmp_path)
    policy.write_text(policy.read_text().replace("name =", "not-in = 'keep.txt'\nname ="))
    ended = cli("cleanup", policy)
    assert (ended.code, "keep.txt: the keep list is empty" in ended.err) == (2, True)
    assert [message["event"] for message in hook] == ["failure"]


@pytest.mark.parametrize(("status", "delay"), [(404, 0.0), (500, 0.0), (200, 0.5)])
def test_a_webhook_that_fails(
    cli: CommandRunner,
    serve: StartSimulator,
    hook: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    delay: float,
) -> None:
    """asyncgg cleanup nightly.toml --json: a webhook that refuses or hangs is a warning without its URL, and no more."""
    monkeypatch.setattr(WebhookHandler, "status", status)
    monkeypatch.setattr(WebhookHandler, "delay", delay)
    monkeypatch.setattr("asyncgg.notify.webhook._ATTEMPT_SECONDS", 0.2)
    monkeypatch.setattr("asyncgg.notify.webhook._ATTEMPTS", 1)
    serve(FLEET)
    ended = cli("cleanup", write_policy(tmp_path), "--json")
    assert ended.code == 0
    assert len(hook) == 1
    (warning,) = ended.json["warnings"]
    assert "Notification to " in warning
    assert "secret-path" not in ended.err + ended.out


def test_who_wants_to_be_told(
    cli: CommandRunner, serve: StartSimulator, hook: list[dict[str, Any]], tmp_path: Path
) -> None:
    """asyncgg cleanup nightly.toml: only the kinds of ends are told that the policy names, a dry run never."""
    serve(FLEET)
    policy = write_policy(tmp_path, "on = ['guard']\n")
    assert cli("cleanup", policy, "--dry-run").code == 0
    assert cli("cleanup", policy).code == 0
    assert hook == []


def test_a_dry_run_in_words(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """asyncgg cleanup nightly.toml --dry-run: what would go, with its reasons; nothing is sent."""
    simulator = serve(FLEET)
    (tmp_path / "nightly.toml").write_text(POLICY)
    ended = cli("cleanup", tmp_path / "nightly.toml", "--dry-run")
    assert ended.code == 0
    assert ended.out.startswith("policy nightly: dry run: nothing was sent\n")
    assert "  decided    3 selected, 2 kept" in ended.out
    assert len(simulator.service.fleet) == 5


def test_a_fault_of_ours_is_told(
    cli: CommandRunner,
    serve: StartSimulator,
    hook: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """asyncgg cleanup nightly.toml: when asyncgg itself fails somebody is told, since no report will be there."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("asyncgg.cleanup.runner.decide_all", broken)
    serve(FLEET)
    ended = cli("cleanup", write_policy(tmp_path))
    assert ended.code == 1
    assert "this is a fault of asyncgg" in ended.err
    assert [message["event"] for message in hook] == ["failure"]
