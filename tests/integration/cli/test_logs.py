"""Tests of -v, --log-file and --log-requests."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from asyncgg.simulator import FleetSpec
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner, small_fleet
from tests.unit.telemetry.test_emf import validate

RUN_OPTIONS = ("--rate", 500, "--yes", "--journal", "run.journal")
FAULTS = ("500=3%", "429=2%", "entry=5%")


def json_lines(text: str) -> list[Any]:
    """The objects of JSON lines, without the lines of the summary."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_every_request_of_a_run_of_1000_is_in_the_log(cli: CommandRunner, serve: StartSimulator) -> None:
    """The request IDs of the service and of the log are equal, throttles and failures included."""
    fleet = FleetSpec.from_things({f"core-{number}": [f"thing-{number}"] for number in range(1000)}, now=1000.0)
    simulator = serve(fleet, fault=FAULTS)
    options = ("--log-requests", "requests.jsonl", "--concurrency", 8, "--json", "--quiet")
    result = cli("disassociate", "fleet.csv", "--yes", "--rate", 2000, *options, "--journal", "run.journal")
    lines = json_lines(Path("requests.jsonl").read_text())
    served = simulator.service.counters.log
    assert len(lines) > 1000
    assert sorted(line["request_id"] for line in lines) == sorted(entry.request_id for entry in served)
    assert len(lines) == result.json["requests"]["sent"]
    assert sum(line["result"] == "throttled" for line in lines) == result.json["requests"]["throttled"]
    by_id = {line["request_id"]: line for line in lines}
    for entry in served:
        line = by_id[entry.request_id]
        assert (line["core"], line["status"], line["things"]) == (entry.core, entry.status, entry.entries)
        assert line["code"] == entry.code
    assert {line["run"] for line in lines} == {result.json["run"]}
    assert result.err == ""


def test_scan_requests_are_logged(cli: CommandRunner, serve: StartSimulator) -> None:
    """An inventory logs the requests for the list of cores and for each core."""
    simulator = serve()
    assert cli("inventory", "--rate", 500, "--log-requests", "requests.jsonl", "--quiet").code == 0
    lines = json_lines(Path("requests.jsonl").read_text())
    assert {line["request_id"] for line in lines} == {entry.request_id for entry in simulator.service.counters.log}
    assert {line["operation"] for line in lines} == {"ListCoreDevices", "ListClientDevicesAssociatedWithCoreDevice"}


def test_verbose_json_has_every_rate_decision_with_its_reason(cli: CommandRunner, serve: StartSimulator) -> None:
    """-v writes log records as JSON lines; each change of the rate says why."""
    serve(small_fleet(40, 2), rate=50.0, burst=3)
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--log-format", "json", "-v")
    records = [line for line in json_lines(result.err) if "logger" in line]
    rates = [record for record in records if record["event"] == "rate"]
    assert {"throttled"} <= {record["reason"] for record in rates}
    assert all(record["message"] for record in rates)
    assert [record["event"] for record in records].count("started") == 1
    assert not [record for record in records if record["event"] == "request"]


def test_very_verbose_shows_requests_and_no_event_twice(cli: CommandRunner, serve: StartSimulator) -> None:
    """-vv shows each request; the notices of the display are not shown in addition."""
    serve()
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "-vv")
    assert result.err.count("request ID") == 3
    assert result.err.count("things pending") == 1
    assert logging.getLogger("asyncgg").level == logging.NOTSET
    assert len(logging.getLogger("asyncgg").handlers) == 1


def test_log_file_has_the_log_without_verbose(cli: CommandRunner, serve: StartSimulator) -> None:
    """--log-file writes what -v shows, also with --quiet, and is extended by the next command."""
    serve()
    options = ("--log-file", "run.log", "--quiet")
    assert cli("disassociate", "fleet.csv", *RUN_OPTIONS, *options).err == ""
    first = Path("run.log").read_text()
    assert " INFO asyncgg.run run ended: complete\n" in first
    assert cli("verify", "run.journal", *options, "--log-format", "json").code == 0
    assert Path("run.log").read_text().startswith(first)


def test_log_file_starts_again_when_it_is_large(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large log is renamed, and five old ones are kept."""
    monkeypatch.setattr("asyncgg.cli.log_output._MAX_BYTES", 300)
    serve(small_fleet(20, 1))
    assert cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--log-file", "run.log", "-vv").code == 0
    assert {path.name for path in Path().glob("run.log*")} == {"run.log", *(f"run.log.{n}" for n in range(1, 6))}


@pytest.mark.parametrize("option", ["--log-file", "--log-requests"])
@pytest.mark.parametrize("path", ["fleet.csv", "missing/run.log"])
def test_unusable_log_stops_the_run_before_it_starts(
    cli: CommandRunner, serve: StartSimulator, option: str, path: str
) -> None:
    """A log in a missing folder, or in place of the manifest, is a usage error; no journal is left."""
    simulator = serve()
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, option, path)
    assert result.code == 2
    assert path in result.err
    assert not simulator.service.counters.requests
    assert not Path("run.journal").exists()
    assert Path("fleet.csv").read_text().startswith("core,thing\n")


def test_settings_of_logs_are_not_kept_in_the_journal(cli: CommandRunner, serve: StartSimulator) -> None:
    """A retry does not continue the logs of the first start."""
    serve(fault=("entry:Odd@thing-1-1",))
    options = ("--max-attempts-unknown", 1, "--quiet", "--log-requests", "requests.jsonl")
    assert cli("disassociate", "fleet.csv", *RUN_OPTIONS, *options).code == 3
    before = Path("requests.jsonl").read_text()
    assert cli("retry", "run.journal", "--yes", "--quiet").code == 3
    assert Path("requests.jsonl").read_text() == before


def test_emf_lines_are_metrics_of_the_whole_run(cli: CommandRunner, serve: StartSimulator) -> None:
    """--log-format emf writes JSON lines, some with CloudWatch metrics, whose counts equal the summary."""
    serve(small_fleet(8, 3), fault=("entry:Odd@thing-1-1",))
    options = ("--log-format", "emf", "--max-attempts-unknown", 1, "--json")
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, *options)
    metrics = [line for line in json_lines(result.err) if "_aws" in line]
    for line in metrics:
        validate(line)
    assert sum(line["RequestsAccepted"] for line in metrics) == result.json["requests"]["sent"]
    assert sum(line["ThingsChanged"] for line in metrics) == result.json["things"]["disassociated"] == 23
    assert sum(line["ThingsFailed"] for line in metrics) == 1


def test_full_disk_ends_the_logs_but_not_the_run(cli: CommandRunner, serve: StartSimulator) -> None:
    """Each log that cannot be written is one warning, and the exit code stays 0."""
    serve()
    options = ("--log-file", "/dev/full", "--log-requests", "/dev/full", "--quiet")
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, *options)
    assert result.code == 0
    assert len(result.err.splitlines()) == 2


def test_unreachable_collector_of_spans_is_one_warning(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a collector the run succeeds, and one line says that its spans are lost."""
    serve()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--otel", "--quiet")
    assert result.code == 0
    (line,) = result.err.splitlines()
    assert "OTEL_EXPORTER_OTLP_" in line
