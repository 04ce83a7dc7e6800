"""Tests of --metrics-file, --metrics-push and --metrics-port."""

from __future__ import annotations

import base64
import json
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from asyncgg.simulator import FleetSpec
from tests.integration.cli.conftest import StartSimulator, StartTargets, Webhook
from tests.support.command_line import CommandRunner, small_fleet
from tests.unit.telemetry.test_metrics import Samples, parse_metrics

RUN_OPTIONS = ("--rate", 500, "--yes", "--journal", "run.journal", "--region", "eu-west-1")
METRICS = ("--metrics-file", "run.prom")
DISASSOCIATE = "BatchDisassociateClientDeviceFromCoreDevice"


def read_metrics() -> Samples:
    """The samples of run.prom."""
    return parse_metrics(Path("run.prom").read_text())


def total(samples: Samples, metric: str, **labels: str) -> float:
    """The sum of the samples of a metric with these labels."""
    return sum(
        number for (name, own), number in samples.items() if name == metric and labels.items() <= dict(own).items()
    )


def check_counters(samples: Samples, summary: Any) -> None:
    """Fail unless the counters are those of the summary."""
    operation = {"operation": DISASSOCIATE}
    assert total(samples, "asyncgg_requests_total", **operation) == summary["requests"]["sent"]
    throttled = total(samples, "asyncgg_requests_total", result="throttled", **operation)
    assert throttled == summary["requests"]["throttled"]
    for state in ("disassociated", "already", "failed", "pending"):
        assert total(samples, "asyncgg_things", state=state) == summary["things"][state]
    assert total(samples, "asyncgg_request_duration_seconds_count", **operation) == summary["requests"]["sent"]
    assert total(samples, "asyncgg_run_state", state=summary["state"]) == 1


def test_counters_equal_the_summary(cli: CommandRunner, serve: StartSimulator) -> None:
    """After a run with throttles, failures and things that are not found, metrics and summary agree."""
    fleet = FleetSpec.from_things({f"core-{c}": [f"thing-{c}-{t}" for t in range(5)] for c in range(100)}, now=1000.0)
    serve(fleet, fault=("500=5%", "429=5%", "entry:Odd@thing-1-1", "deny@core-7"))
    with Path("fleet.csv").open("a") as manifest:
        manifest.write("core-1,not-there\n")
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, *METRICS, "--json", "--quiet", "--concurrency", 8)
    things, requests = result.json["things"], result.json["requests"]
    assert things["already"] == 1
    assert things["failed"] == 6
    assert requests["throttled"]
    check_counters(read_metrics(), result.json)
    assert [path.name for path in Path().iterdir() if path.name.startswith("run.prom")] == ["run.prom"]


def test_targets_of_a_campaign_share_metrics_logs_and_notification(
    cli: CommandRunner, targets: StartTargets, hook: Webhook
) -> None:
    """Each sample and line names its target, also of a target that could not start."""
    targets({"fault": ("deny@core-2",)}, {"fault": ("expired-token",)}, {})
    fleet = ("fleet", "disassociate", "fleet.csv", "--targets", "targets.toml", "--campaign", "camp", "--yes", "-v")
    files = ("--log-requests", "requests.jsonl", "--log-file", "run.log", "--notify", hook.url)
    result = cli(*fleet, *METRICS, *files, "--json")
    assert result.code == 5
    samples = read_metrics()
    for target in result.json["targets"]:
        labels = {"target": target["name"], "account": target["name"][1] * 12, "region": "eu-west-1"}
        assert total(samples, "asyncgg_run_state", state=target["state"], **labels) == 1
        assert total(samples, "asyncgg_requests_total", **labels) == target["requests"]["sent"]
        done = target["things"]["disassociated"]
        assert total(samples, "asyncgg_things", state="disassociated", **labels) == done
    lines = [json.loads(line) for line in Path("requests.jsonl").read_text().splitlines()]
    assert Counter(line["target"] for line in lines) == {
        target["name"]: target["requests"]["sent"] for target in result.json["targets"] if target["requests"]["sent"]
    }
    assert "t1: run ended: partial" in Path("run.log").read_text()
    assert [(message["event"], message["summary"]) for message in hook.received] == [("failure", result.json)]
    assert hook.received[0]["text"] == "asyncgg campaign camp: aborted: 1 of 3 targets complete"
    assert cli("resume", "camp", "--yes", "--notify", hook.url).code == 5
    assert len(hook.received) == 2


def test_scan_and_run_of_one_command_count_together(cli: CommandRunner, serve: StartSimulator) -> None:
    """A run with a lookup has the requests of its scan, under their own operation."""
    simulator = serve()
    options = ("--core", "core-1", "--core", "core-2", *RUN_OPTIONS, *METRICS, "--json", "--quiet")
    result = cli("disassociate", *options)
    check_counters(read_metrics(), result.json)
    for operation, count in simulator.service.counters.requests.items():
        expected = {"disassociate": DISASSOCIATE, "list-devices": "ListClientDevicesAssociatedWithCoreDevice"}
        assert total(read_metrics(), "asyncgg_requests_total", operation=expected.get(operation, operation)) == count


@pytest.mark.parametrize("command", ["retry", "verify", "undo"])
def test_later_commands_have_metrics_of_their_own_requests(
    cli: CommandRunner, serve: StartSimulator, command: str
) -> None:
    """Each command counts what it sent itself; the things are those of the whole run."""
    simulator = serve(fault=("entry:Odd@thing-1-1",))
    assert cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--quiet", "--max-attempts-unknown", 1).code == 3
    before = sum(simulator.service.counters.requests.values())
    options = {"retry": ("--yes",), "verify": (), "undo": ("--yes", "--assume-associated")}[command]
    cli(command, "run.journal", *options, *METRICS, "--quiet", "--rate", 500)
    samples = read_metrics()
    sent = sum(simulator.service.counters.requests.values()) - before
    assert total(samples, "asyncgg_requests_total") == sent > 0
    state = {"retry": "disassociated", "undo": "associated"}.get(command)
    if state:
        assert total(samples, "asyncgg_things", state=state) == 11
    assert total(samples, "asyncgg_scan_cores", state="listed") == (3 if command == "verify" else 0)


class Pushgateway(ThreadingHTTPServer):
    """A server that records what is pushed, and answers with `status`."""

    def __init__(self, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _PushHandler)
        self.status = status
        self.pushes: list[tuple[str, str, str, str]] = []
        """Method, path, authorization and body."""


class _PushHandler(BaseHTTPRequestHandler):
    server: Pushgateway

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.pushes.append(("PUT", self.path, self.headers.get("Authorization", ""), body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def pushgateway() -> Iterator[Pushgateway]:
    """A running Pushgateway."""
    with Pushgateway() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_push_has_the_final_metrics(cli: CommandRunner, serve: StartSimulator, pushgateway: Pushgateway) -> None:
    """The last push has the final counts, under the account and Region, with the password of the URL."""
    serve()
    url = f"http://user:p%40ss@127.0.0.1:{pushgateway.server_port}"
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--metrics-push", url, "--json", "-v")
    method, path, authorization, body = pushgateway.pushes[-1]
    assert (method, path) == ("PUT", "/metrics/job/asyncgg/account/123456789012/region/eu-west-1")
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"user:p@ss"
    check_counters(parse_metrics(body), result.json)
    assert "p@ss" not in result.err
    assert "p%40ss" not in result.err + Path("run.journal").read_bytes().decode("latin-1")


@pytest.mark.parametrize("failure", ["refused", "status", "name"])
def test_failed_push_is_one_warning(
    cli: CommandRunner, serve: StartSimulator, pushgateway: Pushgateway, failure: str
) -> None:
    """Whatever is wrong with the Pushgateway, the run succeeds, and one line says what."""
    serve()
    pushgateway.status = 500
    port = 9 if failure == "refused" else pushgateway.server_port
    url = f"http://user:secret@{'not a host' if failure == 'name' else '127.0.0.1'}:{port}".replace(" ", "%20")
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--metrics-push", url, "--quiet")
    assert result.code == 0
    assert len(result.err.splitlines()) == 1
    assert "metrics not pushed" in result.err
    assert "secret" not in result.err


def test_port_serves_metrics_during_the_run(cli: CommandRunner, serve: StartSimulator, unused_tcp_port: int) -> None:
    """A scrape during the run has the current counts, and the port is closed afterwards."""
    serve(small_fleet(40, 1))
    url = f"http://127.0.0.1:{unused_tcp_port}/metrics"
    scraped: list[Samples] = []
    ended = threading.Event()

    def scrape() -> None:
        while not ended.is_set():
            try:
                with urllib.request.urlopen(url, timeout=5) as response:
                    scraped.append(parse_metrics(response.read().decode()))
            except OSError:
                continue
            ended.wait(0.05)

    thread = threading.Thread(target=scrape)
    thread.start()
    options = ("--metrics-port", unused_tcp_port, "--rate", 25, "--burst", 2, "--quiet", "--json", "--yes")
    try:
        result = cli("disassociate", "fleet.csv", *options)
    finally:
        ended.set()
        thread.join()
    counts = [total(samples, "asyncgg_requests_total") for samples in scraped]
    assert counts == sorted(counts)
    assert 0 < counts[-1] <= result.json["requests"]["sent"] == 40
    assert any(total(samples, "asyncgg_rate_requests_per_second") == 25 for samples in scraped)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=5)


@pytest.mark.parametrize(
    "options",
    [("--metrics-file", "missing/run.prom"), ("--metrics-port", "192.0.2.1:9100"), ("--metrics-file", "x.csv")],
)
def test_unusable_target_stops_the_run_before_it_starts(
    cli: CommandRunner, serve: StartSimulator, options: tuple[str, str]
) -> None:
    """A file or an address that cannot be used is a usage error, and nothing is sent."""
    simulator = serve()
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, *options)
    assert result.code == 2
    assert options[1] in result.err
    assert not simulator.service.counters.requests
    assert not Path("run.journal").exists()


@pytest.mark.parametrize(
    ("options", "package", "extra"),
    [(METRICS, "prometheus_client", "metrics"), (("--otel",), "opentelemetry", "otel")],
)
def test_missing_package_is_a_usage_error(
    cli: CommandRunner,
    serve: StartSimulator,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    package: str,
    extra: str,
) -> None:
    """Without the optional package one line names the extra to install."""
    serve()
    monkeypatch.setitem(sys.modules, package, None)
    for name in ("exporters", "metrics", "traces"):
        monkeypatch.delitem(sys.modules, f"asyncgg.telemetry.{name}", raising=False)
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, *options)
    assert result.code == 2
    assert f"pip install 'asyncgg[{extra}]'" in result.err


def test_scan_that_stops_early_has_a_state(cli: CommandRunner, serve: StartSimulator) -> None:
    """An inventory without permission is aborted, so that an alert of a nightly list can see it."""
    serve(fault=("deny",))
    assert cli("inventory", *METRICS, "--quiet", "--rate", 500).code == 5
    assert total(read_metrics(), "asyncgg_run_state", state="aborted") == 1
