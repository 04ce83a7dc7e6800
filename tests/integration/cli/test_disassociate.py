"""Tests of `asyncgg disassociate` and `plan` with a manifest: output, options, settings."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from asyncgg.journal import JournalStore
from asyncgg.manifest.s3 import S3Downloader
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner, small_fleet

RUN_OPTIONS = ("--rate", "500", "--yes")


def test_disassociate_json_writes_the_contract_summary(cli: CommandRunner, serve: StartSimulator) -> None:
    """With --json standard output has only the summary; plan and progress go to standard error."""
    serve()
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--json", "--journal", "run.journal")
    summary = result.json
    assert summary.pop("run")
    assert 0 <= summary.pop("seconds") < 10
    assert summary == {
        "schema": "asyncgg.summary/1",
        "journal": "run.journal",
        "operation": "disassociate",
        "state": "complete",
        "things": {
            "total": 12,
            "disassociated": 12,
            "already": 0,
            "failed": 0,
            "pending": 0,
            "rejected": 0,
            "duplicates": 0,
            "protected": 0,
            "header_rows": 0,
        },
        "requests": {"sent": 3, "minimum": 3, "throttled": 0, "retried": 0},
        "failures": {},
        "warnings": [],
        "next": ["asyncgg verify run.journal", "asyncgg report run.journal --html report.html"],
        "exit": 0,
    }
    assert "plan: disassociate 12 things from 3 cores" in result.err
    assert "12/12 things (100 %)" in result.err
    assert "complete: every thing is disassociated" in result.err


@pytest.mark.parametrize("kind", ["native", "sdk"])
def test_disassociate_each_transport_completes(cli: CommandRunner, serve: StartSimulator, kind: str) -> None:
    """--transport selects how requests are sent; the result is the same."""
    service = serve()
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--json", "--quiet", "--transport", kind)
    assert result.json["state"] == "complete"
    assert not any(service.service.fleet.things.values())


def test_disassociate_quiet_writes_only_the_result(cli: CommandRunner, serve: StartSimulator) -> None:
    """--quiet --json leaves standard error empty."""
    serve()
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--json", "--quiet")
    assert result.json["state"] == "complete"
    assert result.err == ""


def test_disassociate_json_log_has_one_object_per_line(cli: CommandRunner, serve: StartSimulator) -> None:
    """With --log-format json each line of standard error is an object with its event and time."""
    serve()
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--log-format", "json")
    events = [json.loads(line) for line in result.err.splitlines()]
    assert [event["event"] for event in events] == ["plan", "started", "progress", "ended"]
    assert all(event["at"].endswith("Z") for event in events)
    assert events[-2]["disassociated"] == 12


def test_disassociate_dry_run_sends_nothing(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--dry-run needs no terminal and no credentials; it writes the plan and leaves no file."""
    simulator = serve()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    result = cli("disassociate", "fleet.csv", "--dry-run", "--json")
    assert result.code == 0
    assert result.json["schema"] == "asyncgg.plan/1"
    assert result.json["things"]["total"] == 12
    assert "dry run: nothing was sent" in result.err
    assert simulator.service.counters.requests.total() == 0
    assert [path.name for path in Path().iterdir()] == ["fleet.csv"]


def test_disassociate_protect_excludes_names_and_globs(cli: CommandRunner, serve: StartSimulator) -> None:
    """--protect excludes things and cores from the run."""
    simulator = serve()
    Path("never.txt").write_text("core-2\n*-1-1  # mine\n", encoding="utf-8")
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--protect", "never.txt", "--json", "--quiet")
    assert result.code == 0
    assert result.json["things"]["protected"] == 5
    remaining = {core: list(things) for core, things in simulator.service.fleet.things.items() if things}
    assert remaining == {"core-1": ["thing-1-1"], "core-2": [f"thing-2-{n}" for n in range(1, 5)]}


def test_disassociate_dash_reads_standard_input(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-` reads standard input in the format of --format."""
    serve()
    text = '{"core":"core-1","thing":"thing-1-1"}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    result = cli("disassociate", "-", *RUN_OPTIONS, "--format", "jsonl", "--json", "--quiet")
    assert result.code == 0
    assert result.json["things"]["disassociated"] == 1


def test_disassociate_end_of_input_does_not_confirm(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal that closes at the prompt: exit 2, nothing sent, no journal."""
    simulator = serve()
    closed_input = io.StringIO("")
    monkeypatch.setattr(closed_input, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", closed_input)
    result = cli("disassociate", "fleet.csv")
    assert result.code == 2
    assert result.err.endswith("error: not confirmed, nothing was sent\n")
    assert simulator.service.counters.requests.total() == 0
    assert not list(Path().glob("*.journal*"))


def test_disassociate_broken_streams_do_not_stop_the_run(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With broken standard streams the run completes with its exit code."""

    class BrokenPipe(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    simulator = serve()
    monkeypatch.setattr(sys, "stderr", BrokenPipe())
    monkeypatch.setattr(sys, "stdout", BrokenPipe())
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS)
    assert result.code == 0
    assert not any(simulator.service.fleet.things.values())


def test_plan_settings_precedence(cli: CommandRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line overrides ASYNCGG_*, which overrides asyncgg.toml."""
    monkeypatch.delenv("ASYNCGG_QUOTA")
    Path("fleet.csv").write_text("core,thing\na,b\n", encoding="utf-8")

    def rate() -> float:
        return float(cli("plan", "fleet.csv", *rates, "--json").json["rate"])

    rates: list[str] = []
    assert rate() == 30.0
    Path("asyncgg.toml").write_text("rate = 11\n", encoding="utf-8")
    assert rate() == 11.0
    monkeypatch.setenv("ASYNCGG_RATE", "12")
    assert rate() == 12.0
    rates = ["--rate", "13"]
    assert rate() == 13.0
    rates = ["--rate", "auto", "--quota-share", "0.5", "--region", "us-gov-west-1", "--endpoint-url", "http://[::1]:9"]
    assert rate() == 5.0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("rat = 1\n", "asyncgg.toml: rat: unknown setting"), ("rate = 'x'\n", "asyncgg.toml: rate: ")],
)
def test_plan_invalid_settings_file_exits_2(cli: CommandRunner, text: str, sentence: str) -> None:
    """An unknown name or invalid value in the file is reported with its place."""
    Path("asyncgg.toml").write_text(text, encoding="utf-8")
    result = cli("plan", "fleet.csv")
    assert result.code == 2
    assert sentence in result.err


def test_plan_without_aws_configuration_exits_0(cli: CommandRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """`plan` without any AWS configuration shows what is unknown and leaves no file."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    lines = "".join(f"core-{n % 2},thing-{n}\n" for n in range(301))
    Path("fleet.csv").write_text("core,thing\n" + lines + "core-0,thing-0\n", encoding="utf-8")
    result = cli("plan", "fleet.csv")
    assert result.code == 0
    assert "plan: disassociate 301 things from 2 cores" in result.out
    assert "account    unknown (no AWS Region" in result.out
    assert "excluded   1 duplicate" in result.out
    assert "requests   4, the largest core has 151 things" in result.out
    assert [path.name for path in Path().iterdir()] == ["fleet.csv"]


def test_plan_expected_account_is_shown(cli: CommandRunner, serve: StartSimulator) -> None:
    """With --expect-account the plan has the account and the ARN of the caller."""
    simulator = serve()
    result = cli("plan", "fleet.csv", "--expect-account", "123456789012", "--json")
    assert result.json["account"] == "123456789012"
    assert result.json["arn"].startswith("arn:aws:")
    assert result.json["endpoint"] == simulator.url


def test_plan_bad_rows_exit_2_unless_skipped(cli: CommandRunner, serve: StartSimulator) -> None:
    """Bad rows are listed by file and line; --skip-bad-rows plans without them."""
    serve(small_fleet(1, 1))
    with Path("fleet.csv").open("a", encoding="utf-8") as file:
        file.write("core-1,no good\n")
    result = cli("plan", "fleet.csv")
    assert result.code == 2
    assert "fleet.csv:3: thing contains characters outside" in result.err
    skipped = cli("plan", "fleet.csv", "--skip-bad-rows")
    assert skipped.code == 0
    assert "excluded   1 bad row" in skipped.out
    assert "fleet.csv:3: thing contains characters outside" in skipped.out


def test_disassociate_full_disk_writes_a_summary(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the journal cannot be written: summary, one error, exit 1; the journal is resumable."""
    simulator = serve(small_fleet(10, 1))
    original, calls = JournalStore.record_batch, 0

    def record_batch(self: JournalStore, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            full = sqlite3.OperationalError("database or disk is full")
            full.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise full
        original(self, *arguments)

    monkeypatch.setattr(JournalStore, "record_batch", record_batch)
    result = cli("disassociate", "fleet.csv", "--yes", "--quiet", "--rate", 20, "--json", "--journal", "run.journal")
    assert result.code == 1
    assert result.err.startswith("error: run.journal: the disk is full; free some space")
    assert result.err.count("\n") == 1
    assert result.json["exit"] == 1
    assert result.json["state"] == "interrupted"
    assert result.json["things"]["pending"] > 0
    monkeypatch.setattr(JournalStore, "record_batch", original)
    resumed = cli("resume", "run.journal", *RUN_OPTIONS, "--json", "--quiet")
    assert resumed.code == 0
    assert not any(simulator.service.fleet.things.values())


def test_disassociate_full_standard_output_exits_1(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A summary that cannot be written is an error, although the run is complete."""
    simulator = serve()
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--quiet")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.flush()
    assert result.code == 1
    assert result.err == "error: cannot write to standard output: No space left on device\n"
    assert not any(simulator.service.fleet.things.values())


@pytest.mark.parametrize(
    ("variables", "options", "endpoint"),
    [
        ({}, ["--region", "eu-west-1"], None),
        ({}, ["--region", "eu-west-1", "--endpoint-url", "http://127.0.0.1:9"], "http://127.0.0.1:9"),
        (
            {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:8"},
            ["--region", "eu-west-1", "--endpoint-url", "http://127.0.0.1:9"],
            "http://127.0.0.1:8",
        ),
    ],
)
def test_plan_s3_manifest_uses_the_endpoint_of_the_run(
    cli: CommandRunner,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    options: list[str],
    endpoint: str | None,
) -> None:
    """The Region is the run's; a custom endpoint is also used for S3 unless S3 has its own."""
    endpoints: list[tuple[S3Downloader, str, str]] = []

    def opened(self: S3Downloader, bucket: str, key: str) -> io.BytesIO:
        endpoints.append((self, bucket, key))
        return io.BytesIO(b"core,thing\na,b\n")

    monkeypatch.setattr(S3Downloader, "open", opened)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = cli("plan", "s3://bucket/folder/fleet.csv", *options, "--json")
    assert result.code == 0, result.err
    assert result.json["things"]["total"] == 1
    assert endpoints == [(S3Downloader(None, "eu-west-1", endpoint), "bucket", "folder/fleet.csv")]


def test_disassociate_accepts_file_names_that_are_not_utf8(cli: CommandRunner, serve: StartSimulator) -> None:
    """Manifest, protect list, journal and report can have undecodable names; a resume, too."""
    serve()
    manifest, protect, journal, page = (f"\udce9.{ending}" for ending in ("csv", "txt", "journal", "html"))
    Path("fleet.csv").rename(manifest)
    Path(protect).write_text("core-1\n")
    planned = cli("plan", manifest)
    assert planned.code == 0, planned.err
    assert r"\udce9.csv" in planned.out
    result = cli(
        "disassociate",
        manifest,
        *RUN_OPTIONS,
        "--protect",
        protect,
        "--journal",
        journal,
        "--json",
        "--deadline",
        "1ms",
    )
    assert result.code == 10, result.err
    result = cli("resume", journal, "--yes", "--deadline", "1h", "--json")
    assert result.json["things"]["disassociated"] == 8, result.err
    assert cli("report", journal, "--html", page).code == 0
    assert r"\udce9.journal" in Path(page).read_text()
