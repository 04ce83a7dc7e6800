"""`asyncgg cleanup` against real services: output, notifications, exit codes."""

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

pytestmark = pytest.mark.usefixtures("no_fsync")

FLEET = FleetSpec.from_things({"core-1": ["tmp-1", "tmp-2", "fine-1"], "core-2": ["tmp-3", "fine-2"]}, 1000.0)
POLICY = "[[rule]]\nid = 'leftovers'\nname = 'tmp-*'\n"


class WebhookHandler(http.server.BaseHTTPRequestHandler):
    """A webhook that records messages and replies as the test configures."""

    received: ClassVar[list[dict[str, Any]]] = []
    status: ClassVar[int] = 200
    delay: ClassVar[float] = 0.0

    def do_POST(self) -> None:
        self.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        time.sleep(self.delay)
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The messages to a webhook whose URL is in CLEANUP_WEBHOOK."""
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
    """A policy that notifies the webhook."""
    path = folder / "nightly.toml"
    path.write_text(f"{POLICY}[notify]\nwebhook = 'env:CLEANUP_WEBHOOK'\n{extra}")
    return path


def test_cleanup_benchmark_scenario_removes_expected_things(
    cli: CommandRunner, serve: StartSimulator, moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncgg cleanup nightly.toml --json: removes exactly the expected things, with reasons."""
    cleanup_scenario = build_scenario(8, 12, orphans=21, retired=8, meters=9, prefix="scene-")
    simulator = serve(cleanup_scenario.plan())
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_url)
    populate_moto(cleanup_scenario, moto_url, "scene")
    policy = tmp_path / "nightly.toml"
    policy.write_text(policy_text(cleanup_scenario, moto_url, "scene"))
    result = cli("cleanup", policy, "--json", "--quiet")
    assert result.code == 0, result.err
    fleet = simulator.service.fleet.things
    remaining = {(core, thing) for core, things in fleet.items() for thing in things}
    report = result.json
    assert list(check_result(cleanup_scenario, remaining, Path(report["files"]["report"]).parent)) == []
    assert cleanup_scenario.protected
    assert report["schema"] == "asyncgg.cleanup/1"
    assert report["run"]["things"]["disassociated"] == report["decisions"]["selected"] == len(cleanup_scenario.expected)
    assert set(cleanup_scenario.expected.values()) == {"orphan", "retired", "unlisted"}
    explained = cli("cleanup", policy, "--explain", min(cleanup_scenario.expected)[1], "--json")
    assert explained.code == 0
    assert explained.json["associations"][0]["verdict"] == "selected"
    assert explained.json["recorded"] == [
        {key: explained.json["associations"][0][key] for key in ("core", "verdict", "reason")}
    ]
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    text = cli("cleanup", policy, "--explain", min(cleanup_scenario.expected)[1])
    assert text.code == 0, text.err
    assert text.out.startswith(f"last run: {min(cleanup_scenario.expected)[1]} on ")


def test_cleanup_prints_result_and_notifies(
    cli: CommandRunner, serve: StartSimulator, hook: list[dict[str, Any]], tmp_path: Path
) -> None:
    """asyncgg cleanup nightly.toml: prints the result, writes the report, notifies the webhook."""
    serve(FLEET)
    result = cli("cleanup", write_policy(tmp_path, "[guards]\ncanary = 1\n"))
    assert result.code == 0, result.err
    run_directory = next((tmp_path / "nightly.state").glob("2*"))
    lines = result.out.splitlines()
    assert lines[0] == "policy nightly: complete"
    assert lines[1].startswith("  scan       2 cores, 5 associations, 3 requests")
    assert "  decided    3 selected, 2 kept" in lines
    assert "  reasons    3: leftovers: name tmp-*" in lines
    assert "  canary     1 thing, verified" in lines
    assert f"  report     {run_directory}/report.json" in lines
    assert lines[lines.index("next:") + 1] == f"  asyncgg verify {run_directory}/run.journal"
    assert "limit of 1 thing reached; the others are pending" in result.err
    assert "interrupted" not in result.err
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


def test_cleanup_over_limit_notifies_guard(
    cli: CommandRunner, serve: StartSimulator, hook: list[dict[str, Any]], tmp_path: Path
) -> None:
    """asyncgg cleanup nightly.toml: over a limit; exit 4, nothing sent, event `guard`."""
    simulator = serve(FLEET)
    result = cli("cleanup", write_policy(tmp_path, "[guards]\nmax-things = 2\n"))
    assert result.code == 4
    assert result.out.startswith("policy nightly: aborted: 3 things selected, max-things allows 2; nothing was sent\n")
    assert "\nnext:\n  # a limit stopped the run: read " in result.out
    assert len(simulator.service.fleet) == 5
    assert [message["event"] for message in hook] == ["guard"]


@pytest.mark.parametrize("fault", ["deny-all", "expired-token"])
def test_cleanup_auth_error_notifies_failure(
    cli: CommandRunner, serve: StartSimulator, hook: list[dict[str, Any]], tmp_path: Path, fault: str
) -> None:
    """asyncgg cleanup nightly.toml: denied or expired; exit 5, event `failure`."""
    serve(FLEET, fault=(fault,))
    result = cli("cleanup", write_policy(tmp_path))
    assert result.code == 5, result.out
    assert [message["event"] for message in hook] == ["failure"]
    assert next((tmp_path / "nightly.state").glob("2*/report.json")).is_file()


def test_cleanup_unexpected_account_notifies_guard(
    cli: CommandRunner, serve: StartSimulator, hook: list[dict[str, Any]], tmp_path: Path
) -> None:
    """asyncgg cleanup nightly.toml: unexpected account; exit 4, event `guard`, no state folder."""
    serve(FLEET)
    result = cli("cleanup", write_policy(tmp_path, "[guards]\nexpect-account = '999999999999'\n"))
    assert result.code == 4
    assert "expect-account" in result.err
    assert [message["event"] for message in hook] == ["guard"]
    assert not (tmp_path / "nightly.state").exists()


def test_cleanup_empty_keep_list_exits_2(
    cli: CommandRunner, serve: StartSimulator, hook: list[dict[str, Any]], tmp_path: Path
) -> None:
    """asyncgg cleanup nightly.toml: empty `not-in` list; exit 2, event `failure`."""
    serve(FLEET)
    (tmp_path / "keep.txt").write_text("# nothing\n")
    policy = write_policy(tmp_path)
    policy.write_text(policy.read_text().replace("name =", "not-in = 'keep.txt'\nname ="))
    result = cli("cleanup", policy)
    assert (result.code, "keep.txt: the keep list is empty" in result.err) == (2, True)
    assert [message["event"] for message in hook] == ["failure"]


@pytest.mark.parametrize(("status", "delay"), [(404, 0.0), (500, 0.0), (200, 0.5)])
def test_cleanup_failed_webhook_is_warning(
    cli: CommandRunner,
    serve: StartSimulator,
    hook: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    delay: float,
) -> None:
    """asyncgg cleanup nightly.toml --json: a failed webhook is a warning without its URL."""
    monkeypatch.setattr(WebhookHandler, "status", status)
    monkeypatch.setattr(WebhookHandler, "delay", delay)
    monkeypatch.setattr("asyncgg.notify.delivery._ATTEMPT_SECONDS", 0.2)
    monkeypatch.setattr("asyncgg.notify.delivery._ATTEMPTS", 1)
    serve(FLEET)
    result = cli("cleanup", write_policy(tmp_path), "--json")
    assert result.code == 0
    assert len(hook) == 1
    (warning,) = result.json["warnings"]
    assert "Notification to " in warning
    assert "secret-path" not in result.err + result.out


def test_cleanup_notifies_listed_events_only(
    cli: CommandRunner, serve: StartSimulator, hook: list[dict[str, Any]], tmp_path: Path
) -> None:
    """asyncgg cleanup nightly.toml: only listed events are notified, a dry run never is."""
    serve(FLEET)
    policy = write_policy(tmp_path, "on = ['guard']\n")
    assert cli("cleanup", policy, "--dry-run").code == 0
    assert cli("cleanup", policy).code == 0
    assert hook == []


def test_cleanup_dry_run_prints_decisions(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """asyncgg cleanup nightly.toml --dry-run: prints what would be removed; nothing is sent."""
    simulator = serve(FLEET)
    (tmp_path / "nightly.toml").write_text(POLICY)
    result = cli("cleanup", tmp_path / "nightly.toml", "--dry-run")
    assert result.code == 0
    assert result.out.startswith("policy nightly: dry run: nothing was sent\n")
    assert "  decided    3 selected, 2 kept" in result.out
    assert len(simulator.service.fleet) == 5


def test_cleanup_internal_error_notifies_failure(
    cli: CommandRunner,
    serve: StartSimulator,
    hook: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """asyncgg cleanup nightly.toml: internal error; exit 1, event `failure`."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("asyncgg.cleanup.runner.decide_all", broken)
    serve(FLEET)
    result = cli("cleanup", write_policy(tmp_path))
    assert result.code == 1
    assert "internal error; please report" in result.err
    assert [message["event"] for message in hook] == ["failure"]
