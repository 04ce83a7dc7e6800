"""Tests of `--state` on the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import boto3
import pytest

from asyncgg.cli.state import load_state_settings
from asyncgg.journal import write_meta
from asyncgg.runs.connection import connection_from_settings
from asyncgg.settings import Settings
from asyncgg.state import StateSession
from asyncgg.state.folder_store import FolderStore
from asyncgg.transport import ConnectionConfig
from asyncgg.transport.role import AssumedRole
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner, small_fleet

STATE = ("--state", "share")
RUN = ("--yes", "--quiet", "--json", "--rate", 500)


def _run_to_deadline(cli: CommandRunner, serve: StartSimulator) -> None:
    serve(small_fleet(12, 1))
    result = cli("disassociate", "fleet.csv", "--yes", "--rate", 20, "--deadline", "200ms", *STATE)
    assert result.code == 10, result.err


def test_same_command_continues_the_unfinished_run(cli: CommandRunner, serve: StartSimulator) -> None:
    """The second start sends what is pending, without reading the manifest; the third one is a new run."""
    _run_to_deadline(cli, serve)
    Path("fleet.csv").write_text("core,thing\ncore-1,thing-1-1\n")
    second = cli("disassociate", "fleet.csv", *RUN, "--deadline", "1m", *STATE)
    assert second.code == 0, second.err
    assert second.json["things"]["total"] == second.json["things"]["disassociated"] == 12
    assert second.json["journal"].startswith("share: ")
    third = cli("disassociate", "fleet.csv", *RUN, *STATE)
    assert third.code == 0, third.err
    assert third.json["things"]["total"] == third.json["things"]["already"] == 1
    assert third.json["run"] != second.json["run"]


def test_other_source_with_an_unfinished_run_exits_4(cli: CommandRunner, serve: StartSimulator) -> None:
    """A start with another list neither continues nor replaces the unfinished run."""
    _run_to_deadline(cli, serve)
    Path("other.csv").write_text("core,thing\ncore-1,thing-1-1\n")
    Path("things.txt").write_text("thing-1-1\n")
    for source in (("other.csv",), ("--things", "things.txt"), ("--core", "core-1")):
        result = cli("disassociate", *source, *RUN, *STATE)
        assert result.code == 4
        assert "asyncgg resume --state share" in result.err
        assert result.err.count("\n") <= 2
    resumed = cli("resume", *STATE, *RUN, "--deadline", "1m")
    assert resumed.code == 0, resumed.err
    assert resumed.json["things"]["disassociated"] == 12


def test_lookup_continues_its_own_run(cli: CommandRunner, serve: StartSimulator) -> None:
    """A run of a list of things is continued by the same list."""
    serve(small_fleet(12, 1))
    Path("things.txt").write_text("".join(f"thing-{number}-1\n" for number in range(1, 13)))
    assert cli("inventory", "--out", "fleet.db", "--rate", 500).code == 0
    words = ("disassociate", "--things", "things.txt", "--inventory", "fleet.db", "--yes", "--json", *STATE)
    first = cli(*words, "--rate", 20, "--deadline", "200ms")
    assert first.code == 10, first.err
    second = cli(*words, "--rate", 500, "--deadline", "1m")
    assert second.code == 0, second.err
    assert second.json["run"] == first.json["run"]


def test_interrupted_scan_names_no_temporary_file(cli: CommandRunner, serve: StartSimulator) -> None:
    """The next start scans again; the snapshot of this one is gone with its folder."""
    serve(small_fleet(12, 1))
    Path("things.txt").write_text("thing-1-1\n")
    result = cli("disassociate", "--things", "things.txt", "--yes", "--rate", 10, "--deadline", "200ms", *STATE)
    assert result.code == 10
    assert "No changes were made" in result.err
    assert "--inventory" not in result.err
    assert cli("disassociate", "--things", "things.txt", *RUN, *STATE).code == 0


def test_retry_status_and_report_use_the_state(cli: CommandRunner, serve: StartSimulator) -> None:
    """What failed is tried again in the state, and every command shows the same run."""
    simulator = serve(fault=("deny@core-2",))
    first = cli("disassociate", "fleet.csv", *RUN, *STATE)
    assert first.code == 3, first.err
    assert "asyncgg retry --state share" in first.json["next"]
    report = cli("report", *STATE, "--failures", "failed.csv", "--json")
    assert report.code == 0, report.err
    assert report.json["things"] == first.json["things"]
    assert len(Path("failed.csv").read_text().splitlines()) == 5
    simulator.service.set_faults(())
    retried = cli("retry", *STATE, *RUN)
    assert retried.code == 0, retried.err
    status = cli("status", *STATE, "--json")
    assert status.code == 0
    assert status.json["things"]["disassociated"] == 12
    assert status.json["running"] is False
    assert not list(Path().glob("*.journal*"))


def test_resume_without_pending_things_reports_the_run(cli: CommandRunner, serve: StartSimulator) -> None:
    """A state whose run is complete has nothing to resume."""
    serve()
    assert cli("disassociate", "fleet.csv", *RUN, *STATE).code == 0
    result = cli("resume", *STATE, "--yes", "--json")
    assert result.code == 0
    assert result.json["state"] == "complete"


def test_dry_run_does_not_touch_the_state(cli: CommandRunner, serve: StartSimulator) -> None:
    """A dry run makes no state and takes no lease."""
    serve()
    assert cli("disassociate", "fleet.csv", "--dry-run", *STATE).code == 0
    assert not Path("share").exists()


def test_failed_start_leaves_the_state_as_it_was(cli: CommandRunner, serve: StartSimulator) -> None:
    """A manifest that cannot be used is no run, and the lease is released."""
    serve()
    assert cli("disassociate", "fleet.csv", *RUN, *STATE).code == 0
    before = cli("status", *STATE, "--json").json | {"saved_at": None}
    assert cli("disassociate", "missing.csv", *RUN, *STATE).code == 2
    assert cli("disassociate", "fleet.csv", *RUN, "--max-things", 1, *STATE).code == 4
    assert cli("status", *STATE, "--json").json | {"saved_at": None} == before
    assert json.loads(max(Path("share").glob("state-*.json")).read_text())["holder"] is None


def test_state_of_the_environment_is_used(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ASYNCGG_STATE is the state of a run, and of a command without a journal."""
    serve()
    monkeypatch.setenv("ASYNCGG_STATE", "share")
    assert cli("disassociate", "fleet.csv", *RUN).code == 0
    assert Path("share").is_dir()
    assert cli("resume", "--yes").code == 0
    assert cli("status").code == cli("report").code == cli("watch").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("resume", "run.journal", "--state", "share"), "either JOURNAL or --state"),
        (("resume", "--yes"), "either JOURNAL or --state"),
        (("status",), "either JOURNAL or --state"),
        (("verify",), "either JOURNAL or --state"),
        (("undo", "run.journal", "--state", "share"), "either JOURNAL or --state"),
        (("undo", "run.journal", "--run", "1"), "--run requires --state"),
        (("status", "run.journal", "--run", "1"), "--run requires --state"),
        (("runs", ".", "--state", "share"), "either FOLDER or --state"),
        (("verify", "--state", "share"), "no saved run"),
        (("undo", "--state", "share", "--yes"), "no saved run"),
        (("runs", "--state", "share"), "no saved run"),
        (("watch", "--state", "share"), "no saved run"),
        (("runs", "--state", "fleet.csv"), "fleet.csv"),
        (("report", "run.journal", "--state", "share"), "either JOURNAL or --state"),
        (("disassociate", "fleet.csv", "--yes", "--journal", "j", "--state", "share"), "either --state or --journal"),
        (("disassociate", "fleet.csv", "--yes", "--state", "share", "--state-lease", "60s"), "--state-lease"),
        (("disassociate", "fleet.csv", "--yes", "--state", "share", "--state-lease", "soon"), "--state-lease"),
        (("disassociate", "fleet.csv", "--yes", "--state", "fleet.csv"), "fleet.csv"),
        (("disassociate", "fleet.csv", "--yes", "--state", "s3://"), "s3://BUCKET/PREFIX"),
        (("resume", "--yes", "--state", "share"), "no saved run"),
        (("status", "--state", "share"), "no saved run"),
    ],
    ids=" ".join,
)
def test_unusable_state_exits_2(
    cli: CommandRunner, serve: StartSimulator, words: tuple[str, ...], message: str
) -> None:
    """One line says what is wrong, and nothing is sent."""
    simulator = serve()
    result = cli(*words)
    assert result.code == 2, result.err
    assert message in result.err
    assert result.err.count("\n") == 1
    assert simulator.service.counters.requests.total() == 0
    assert not Path("share").exists() or words[0] == "disassociate"


def test_cleanup_continues_in_the_state(cli: CommandRunner, serve: StartSimulator) -> None:
    """A policy keeps its runs in the state instead of its own folder."""
    serve(small_fleet(12, 1))
    Path("nightly.toml").write_text(
        'name = "nightly"\n[[rule]]\nid = "all"\nassociated-before = "1d"\n[guards]\nmax-things = 100\n'
        "[state]\nresume-unfinished = true\n"
    )
    first = cli("cleanup", "nightly.toml", "--json", "--quiet", "--rate", 500, *STATE)
    assert first.code == 0, first.err
    assert first.json["run"]["things"]["disassociated"] == 12
    assert first.json["files"]["journal"].startswith("share: ")
    assert not Path("nightly.state").exists()
    second = cli("cleanup", "nightly.toml", "--json", "--quiet", "--rate", 500, *STATE)
    assert second.code == 0, second.err
    assert second.json["run_id"] > first.json["run_id"]
    report = cli("report", *STATE, "--json")
    assert report.json["things"]["disassociated"] == 12


def _run_twice(cli: CommandRunner, serve: StartSimulator) -> list[str]:
    """Two complete runs in the state, of 12 things and of 1; their names, the older one first."""
    serve()
    assert cli("disassociate", "fleet.csv", *RUN, *STATE).code == 0
    Path("one.csv").write_text("core,thing\ncore-1,thing-1-1\n")
    assert cli("disassociate", "one.csv", *RUN, *STATE).code == 0
    runs = cli("runs", *STATE, "--json").json["runs"]
    assert [run["things"] for run in runs] == [1, 12]
    return [run["journal"].removeprefix("share: ").partition("/")[0] for run in reversed(runs)]


def test_runs_lists_the_runs_of_a_state(cli: CommandRunner, serve: StartSimulator) -> None:
    """Newest first, with source, size and how old the copy is; without a lease."""
    _run_twice(cli, serve)
    before = sorted(Path("share").glob("state-*.json"))
    document = cli("runs", *STATE, "--json").json
    assert [run["source"] for run in document["runs"]] == ["one.csv", "fleet.csv"]
    assert [run["state"] for run in document["runs"]] == ["complete", "complete"]
    assert document["folder"] == "share"
    assert document["in_use_by"] is None
    result = cli("runs", *STATE)
    assert result.out.splitlines()[1].split()[1:3] == ["complete", "1"]
    assert result.out.splitlines()[-1].startswith("saved ")
    assert sorted(Path("share").glob("state-*.json")) == before


def test_run_of_a_state_selects_an_older_one(cli: CommandRunner, serve: StartSimulator) -> None:
    """`status` and `report` show any saved run; the commands that they suggest name it."""
    older, newer = _run_twice(cli, serve)
    status = cli("status", *STATE, "--run", older, "--json")
    assert status.json["things"]["total"] == 12
    assert status.json["journal"] == f"share: {older}/run.journal"
    assert f"asyncgg report --state share --run {older} --html report.html" in status.json["next"]
    assert "saved " in cli("status", *STATE, "--run", older).out
    report = cli("report", *STATE, "--run", newer, "--json")
    assert report.json["things"]["total"] == 1
    assert "--run" not in " ".join(report.json["next"])
    unknown = cli("status", *STATE, "--run", "../share")
    assert unknown.code == 2
    assert "asyncgg runs --state share" in unknown.err


def test_watch_follows_a_state(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It shows the copy and its age, downloads it again only when it changed, and ends with the run."""
    _run_to_deadline(cli, serve)
    downloads: list[str] = []
    download = FolderStore.download

    async def count(self: FolderStore, key: str, path: Path) -> None:
        downloads.append(key)
        await download(self, key, path)

    def finish() -> None:
        with StateSession("share", ConnectionConfig(), lease_seconds=61, interval=1) as state:
            run = state.latest()
            assert run is not None
            asyncio.run(write_meta(run.journal, state="complete"))

    steps = [lambda: None, finish]
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        steps.pop(0)()

    monkeypatch.setattr(FolderStore, "download", count)
    monkeypatch.setattr("asyncgg.cli.commands.watch.time.sleep", pause)
    result = cli("watch", *STATE)
    assert result.code == 0, result.err
    first, *rest = result.out.splitlines()
    assert ", deadline, waiting for resume or retry, saved " in first
    assert rest[0].startswith("complete")
    assert len([key for key in downloads if "run.journal" in key]) == 3  # the watch twice, its end once
    assert min(pauses) >= 5.0


def _newest_run(cli: CommandRunner) -> str:
    journal: str = cli("runs", *STATE, "--json").json["runs"][0]["journal"]
    return journal.removeprefix("share: ").partition("/")[0]


def test_verify_keeps_its_result_in_the_state(cli: CommandRunner, serve: StartSimulator) -> None:
    """The report of the state has the verification; a difference is found."""
    simulator = serve()
    assert cli("disassociate", "fleet.csv", *RUN, *STATE).code == 0
    verified = cli("verify", *STATE, "--json", "--rate", 500)
    assert verified.code == 0, verified.err
    assert verified.json["journal"] == f"share: {_newest_run(cli)}/run.journal"
    report = cli("report", *STATE, "--json").json
    assert report["verified"]["things"]["confirmed"] == 12
    assert report["verified"]["journal"].startswith("share: ")
    assert "asyncgg verify --state share" in report["next"]
    simulator.service.fleet.associate("core-1", "thing-1-1", 0.0)
    assert cli("verify", *STATE, "--json", "--rate", 500, "--failures", "left.csv").code == 3
    assert "core-1,thing-1-1," in Path("left.csv").read_text()


def test_undo_in_a_state_is_its_newest_run(cli: CommandRunner, serve: StartSimulator) -> None:
    """An older run is undone by name; its report says so, and the undo can be verified and undone."""
    older, newer = _run_twice(cli, serve)
    dry_run = cli("undo", *STATE, "--run", older, "--assume-associated", "--dry-run", "--json")
    assert dry_run.code == 0, dry_run.err
    assert dry_run.json["things"]["total"] == 12
    assert _newest_run(cli) == newer
    location = "./share"  # a path that would be normalized has the problem of s3://
    undone = cli("undo", "--state", location, "--run", older, "--assume-associated", *RUN)
    assert undone.code == 0, undone.err
    assert undone.json["things"]["associated"] == 12
    undo = _newest_run(cli)
    assert undone.json["journal"] == f"{location}: {undo}/run.journal"
    (mark,) = cli("report", *STATE, "--run", older, "--json").json["undone"]
    assert mark["journal"] == f"{location}: {undo}/run.journal"
    assert (mark["reverted"], mark["total"]) == (12, 12)
    assert cli("verify", *STATE, "--rate", 500).code == 0
    again = cli("undo", *STATE, *RUN)
    assert again.code == 0, again.err
    assert again.json["things"]["disassociated"] == 12
    assert not list(Path().glob("*.journal*"))


def test_resumed_undo_of_a_state_counts_in_the_run_that_it_reverts(cli: CommandRunner, serve: StartSimulator) -> None:
    """The mark in the journal of the other run follows; a new run or undo waits for the end of the undo."""
    serve(small_fleet(12, 1))
    assert cli("disassociate", "fleet.csv", *RUN, *STATE).code == 0
    older = _newest_run(cli)
    options = ("--yes", "--rate", 20, "--deadline", "200ms", "--assume-associated")
    assert cli("undo", *STATE, *options).code == 10
    (mark,) = cli("report", *STATE, "--run", older, "--json").json["undone"]
    assert mark["reverted"] < 12
    for words in (("undo", *STATE, "--run", older, "--assume-associated"), ("disassociate", "fleet.csv", *STATE)):
        refused = cli(*words, "--yes")
        assert refused.code == 4
        assert "asyncgg resume --state share" in refused.err
    resumed = cli("resume", *STATE, *RUN, "--deadline", "1m")
    assert resumed.code == 0, resumed.err
    (mark,) = cli("report", *STATE, "--run", older, "--json").json["undone"]
    assert (mark["reverted"], mark["total"]) == (12, 12)


def test_verify_and_undo_wait_for_the_process_that_runs_the_state(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes would share one quota; reading needs no lease."""
    serve()
    assert cli("disassociate", "fleet.csv", *RUN, *STATE).code == 0
    monkeypatch.setenv("ASYNCGG_STATE", "share")
    with StateSession("share", ConnectionConfig(), lease_seconds=61.5, interval=1):
        for words in (("verify",), ("undo", "--yes", "--assume-associated")):
            result = cli(*words)
            assert result.code == 4, result.err
            assert "in use by another process" in result.err
        assert cli("status", *STATE).code == 0
        assert "in use by" in cli("runs", *STATE).out
        assert cli("undo", "--dry-run", "--assume-associated").code == 0


def test_state_is_opened_with_the_role_of_the_command_line() -> None:
    """A run in a state is continued, verified and undone with the role that may use the state."""
    role = "arn:aws:iam::123456789012:role/remove-devices"
    settings = load_state_settings({**dict.fromkeys(Settings.model_fields), "state": "share", "role_arn": role})
    assert settings.state == "share"
    assert connection_from_settings(settings).profile == AssumedRole(role, None, "asyncgg", None)


READING = ["status", "report", "runs", "watch", "undo --dry-run --assume-associated"]


@pytest.mark.parametrize("command", READING)
def test_state_is_read_with_the_profile_of_the_command_line(
    cli: CommandRunner, serve: StartSimulator, moto_url: str, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """As it is written; the environment has no credentials then."""
    boto3.client("s3", endpoint_url=moto_url, region_name="us-east-1").create_bucket(Bucket="runs-by-profile")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_url)
    serve()
    state = ("--state", f"s3://runs-by-profile/{command.split()[0]}")
    assert cli("disassociate", "fleet.csv", *RUN, *state).code == 0
    Path("aws.ini").write_text("[profile fleet]\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", "aws.ini")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert cli(*command.split(), *state).code == 5
    assert cli(*command.split(), *state, "--profile", "fleet").code == 0
    monkeypatch.setenv("ASYNCGG_PROFILE", "fleet")
    assert cli(*command.split(), *state).code == 0
