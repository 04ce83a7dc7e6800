"""What a run writes and where, what its options do, and where settings come from."""

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


def test_json_is_one_object_as_in_the_contract(cli: CommandRunner, serve: StartSimulator) -> None:
    """With --json standard output has the summary alone; plan, progress and sentences are on standard error."""
    serve()
    ended = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--json", "--journal", "run.journal")
    summary = ended.json
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
            "failed": 0,
            "pending": 0,
            "rejected": 0,
            "duplicates": 0,
            "protected": 0,
            "already": 0,
        },
        "requests": {"sent": 3, "minimum": 3, "throttled": 0, "retried": 0},
        "failures": {},
        "exit": 0,
    }
    assert "plan: disassociate 12 things from 3 cores" in ended.err
    assert "12/12 things (100 %)" in ended.err
    assert "complete: every thing is disassociated" in ended.err


@pytest.mark.parametrize("kind", ["native", "sdk"])
def test_both_transports_do_the_whole_run(cli: CommandRunner, serve: StartSimulator, kind: str) -> None:
    """--transport chooses how requests are sent; the service cannot tell the difference in what it does."""
    service = serve()
    ended = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--json", "--quiet", "--transport", kind)
    assert ended.json["state"] == "complete"
    assert not any(service.service.fleet.things.values())


def test_quiet_says_nothing_but_the_result(cli: CommandRunner, serve: StartSimulator) -> None:
    """--quiet --json leaves standard error empty."""
    serve()
    ended = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--json", "--quiet")
    assert ended.json["state"] == "complete"
    assert ended.err == ""


def test_json_log_lines(cli: CommandRunner, serve: StartSimulator) -> None:
    """With --log-format json each line of standard error is one object with its event and time."""
    serve()
    ended = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--log-format", "json")
    events = [json.loads(line) for line in ended.err.splitlines()]
    assert [event["event"] for event in events] == ["plan", "started", "progress", "ended"]
    assert all(event["at"].endswith("Z") for event in events)
    assert events[-2]["disassociated"] == 12


def test_a_dry_run_sends_and_leaves_nothing(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--dry-run needs neither a terminal nor credentials, prints the plan, exits 0; no journal, no request."""
    simulator = serve()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    ended = cli("disassociate", "fleet.csv", "--dry-run", "--json")
    assert ended.code == 0
    assert ended.json["schema"] == "asyncgg.plan/1"
    assert ended.json["things"]["total"] == 12
    assert "dry run: nothing was sent" in ended.err
    assert simulator.service.counters.requests.total() == 0
    assert [path.name for path in Path().iterdir()] == ["fleet.csv"]


def test_the_protected_are_never_touched(cli: CommandRunner, serve: StartSimulator) -> None:
    """--protect takes names and globs of things and cores out of the run."""
    simulator = serve()
    Path("never.txt").write_text("core-2\n*-1-1  # mine\n", encoding="utf-8")
    ended = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--protect", "never.txt", "--json", "--quiet")
    assert ended.code == 0
    assert ended.json["things"]["protected"] == 5
    remaining = {core: list(things) for core, things in simulator.service.fleet.things.items() if things}
    assert remaining == {"core-1": ["thing-1-1"], "core-2": [f"thing-2-{n}" for n in range(1, 5)]}


def test_a_manifest_on_standard_input(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-` reads standard input, in the format that --format names."""
    serve()
    text = '{"core":"core-1","thing":"thing-1-1"}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    ended = cli("disassociate", "-", *RUN_OPTIONS, "--format", "jsonl", "--json", "--quiet")
    assert ended.code == 0
    assert ended.json["things"]["disassociated"] == 1


def test_the_end_of_input_confirms_nothing(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal that is closed at the question has not confirmed: exit 2, nothing sent, no journal."""
    simulator = serve()
    closed_input = io.StringIO("")
    monkeypatch.setattr(closed_input, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", closed_input)
    ended = cli("disassociate", "fleet.csv")
    assert ended.code == 2
    assert ended.err.endswith("error: not confirmed, nothing was sent\n")
    assert simulator.service.counters.requests.total() == 0
    assert not list(Path().glob("*.journal*"))


def test_nobody_reading_is_no_reason_to_stop(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With standard error and standard output broken the run still ends as it should, with its exit code."""

    class BrokenPipe(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    simulator = serve()
    monkeypatch.setattr(sys, "stderr", BrokenPipe())
    monkeypatch.setattr(sys, "stdout", BrokenPipe())
    ended = cli("disassociate", "fleet.csv", *RUN_OPTIONS)
    assert ended.code == 0
    assert not any(simulator.service.fleet.things.values())


def test_settings_have_their_order(cli: CommandRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command line, then ASYNCGG_*, then asyncgg.toml, then the default; `plan --json` shows which one won."""
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
def test_a_wrong_setting_is_named(cli: CommandRunner, text: str, sentence: str) -> None:
    """A misspelt name or an impossible value in the file is an error with its place, exit 2."""
    Path("asyncgg.toml").write_text(text, encoding="utf-8")
    ended = cli("plan", "fleet.csv")
    assert ended.code == 2
    assert sentence in ended.err


def test_a_plan_needs_neither_region_nor_credentials(cli: CommandRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """`plan` without any AWS configuration says what it does not know, and leaves no file."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    lines = "".join(f"core-{n % 2},thing-{n}\n" for n in range(301))
    Path("fleet.csv").write_text("core,thing\n" + lines + "core-0,thing-0\n", encoding="utf-8")
    ended = cli("plan", "fleet.csv")
    assert ended.code == 0
    assert "plan: disassociate 301 things from 2 cores" in ended.out
    assert "account    unknown (no AWS Region" in ended.out
    assert "excluded   1 duplicate" in ended.out
    assert "requests   4, the largest core has 151 things" in ended.out
    assert [path.name for path in Path().iterdir()] == ["fleet.csv"]


def test_a_plan_shows_the_account(cli: CommandRunner, serve: StartSimulator) -> None:
    """An account that is expected is asked for, and shown with the one who acts."""
    simulator = serve()
    ended = cli("plan", "fleet.csv", "--expect-account", "123456789012", "--json")
    assert ended.json["account"] == "123456789012"
    assert ended.json["arn"].startswith("arn:aws:")
    assert ended.json["endpoint"] == simulator.url


def test_a_plan_with_bad_rows_is_2_unless_they_may_be_skipped(cli: CommandRunner, serve: StartSimulator) -> None:
    """Bad rows are listed by file and line; --skip-bad-rows plans without them and still lists them."""
    serve(small_fleet(1, 1))
    with Path("fleet.csv").open("a", encoding="utf-8") as file:
        file.write("core-1,no good\n")
    ended = cli("plan", "fleet.csv")
    assert ended.code == 2
    assert "fleet.csv:3: thing contains characters outside" in ended.err
    skipped = cli("plan", "fleet.csv", "--skip-bad-rows")
    assert skipped.code == 0
    assert "excluded   1 bad row" in skipped.out
    assert "fleet.csv:3: thing contains characters outside" in skipped.out


def test_a_disk_that_fills_up_ends_it_with_a_summary(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the journal cannot be written any more: the summary, one sentence, exit 1; the journal can be resumed."""
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
    ended = cli("disassociate", "fleet.csv", "--yes", "--quiet", "--rate", 20, "--json", "--journal", "run.journal")
    assert ended.code == 1
    assert ended.err.startswith("error: run.journal: the disk is full; free some space")
    assert ended.err.count("\n") == 1
    assert ended.json["exit"] == 1
    assert ended.json["state"] == "interrupted"
    assert ended.json["things"]["pending"] > 0
    monkeypatch.setattr(JournalStore, "record_batch", original)
    resumed = cli("resume", "run.journal", *RUN_OPTIONS, "--json", "--quiet")
    assert resumed.code == 0
    assert not any(simulator.service.fleet.things.values())


def test_a_full_disk_behind_standard_output_is_told(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A summary that cannot be written is an error, though the run is done: exit 1 instead of 0."""
    simulator = serve()
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        ended = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--quiet")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.flush()
    assert ended.code == 1
    assert ended.err == "error: cannot write to standard output: No space left on device\n"
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
def test_a_manifest_in_s3_is_fetched_where_the_run_goes(
    cli: CommandRunner,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    options: list[str],
    endpoint: str | None,
) -> None:
    """The Region is the run's; with a custom endpoint nothing is fetched elsewhere, but for S3's own endpoint."""
    endpoints: list[tuple[S3Downloader, str, str]] = []

    def opened(self: S3Downloader, bucket: str, key: str) -> io.BytesIO:
        endpoints.append((self, bucket, key))
        return io.BytesIO(b"core,thing\na,b\n")

    monkeypatch.setattr(S3Downloader, "open", opened)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ended = cli("plan", "s3://bucket/folder/fleet.csv", *options, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["things"]["total"] == 1
    assert endpoints == [(S3Downloader(None, "eu-west-1", endpoint), "bucket", "folder/fleet.csv")]


def test_file_names_may_be_no_utf8(cli: CommandRunner, serve: StartSimulator) -> None:
    """Manifest, list of the protected, journal and reports may have names whose bytes are no UTF-8; a resume too."""
    serve()
    manifest, protect, journal, page = (f"\udce9.{ending}" for ending in ("csv", "txt", "journal", "html"))
    Path("fleet.csv").rename(manifest)
    Path(protect).write_text("core-1\n")
    planned = cli("plan", manifest)
    assert planned.code == 0, planned.err
    assert r"\udce9.csv" in planned.out
    ended = cli(
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
    assert ended.code == 10, ended.err
    ended = cli("resume", journal, "--yes", "--deadline", "1h", "--json")
    assert ended.json["things"]["disassociated"] == 8, ended.err
    assert cli("report", journal, "--html", page).code == 0
    assert r"\udce9.journal" in Path(page).read_text()
