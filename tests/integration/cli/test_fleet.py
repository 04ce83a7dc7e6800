"""Tests of `asyncgg fleet` and of the commands that continue and show a campaign."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest

from asyncgg.fleet.campaign import Campaign
from asyncgg.fleet.lane_host import HostOptions
from asyncgg.fleet.process_executor import ProcessExecutor
from asyncgg.fleet.results import LaneResult
from asyncgg.fleet.runner import CampaignRun
from asyncgg.journal import JournalReader
from asyncgg.runs import RunMode
from asyncgg.simulator import FleetSpec
from tests.integration.cli.conftest import StartTargets
from tests.support.command_line import CommandRunner

RUN = ("fleet", "disassociate", "fleet.csv", "--targets", "targets.toml", "--campaign", "camp", "--yes", "--json")


def exits(document: Any) -> dict[str, int]:
    """The exit code by target."""
    return {target["name"]: target["exit"] for target in document["targets"]}


def test_expired_credentials_end_one_target_and_resume_finishes_it(cli: CommandRunner, targets: StartTargets) -> None:
    """The others use their quotas without a throttle; code, JSON and report name the broken one."""
    plan = FleetSpec.from_things({f"core-{number}": ["a", "b"] for number in range(60)}, now=1000.0)
    quotas = [{"rate": 30.0, "burst": 12.0}, {"rate": 10.0, "burst": 12.0, "fault": ("expired-token",)}]
    # The burst of the client leaves room for the identity request and for delays of this process.
    simulators = targets(*quotas, {"rate": 50.0, "burst": 12.0}, plan=plan)
    text = Path("targets.toml").read_text(encoding="utf-8")
    Path("targets.toml").write_text(text.replace("burst = 12.0", "burst = 4.0"), encoding="utf-8")
    result = cli(*RUN)
    document = result.json
    assert result.code == 5
    assert (document["schema"], document["state"], exits(document)) == (
        "asyncgg.campaign/1",
        "aborted",
        {"t1": 0, "t2": 5, "t3": 0},
    )
    assert "expired" in document["targets"][1]["reason"]
    assert document["requests"]["throttled"] == 0
    for target, rate in zip(document["targets"][::2], (30.0, 50.0), strict=True):
        assert target["things"]["disassociated"] == 120
        assert (60 - 4) / target[
            "seconds"
        ] > 0.6 * rate  # the simulators share this process; benchmarks/fleet.py measures exactly
    assert "t2  aborted (exit 5), 0 of 120 done" in cli("report", "camp").out
    simulators[1].service.set_faults(())
    assert cli("resume", "camp", "--yes", "--json").json["state"] == "complete"
    assert cli("report", "camp", "--json").json["things"]["disassociated"] == 360


def test_wrong_account_is_a_guard_of_its_target(cli: CommandRunner, targets: StartTargets) -> None:
    """Nothing is sent there; the list of failures of the campaign is a manifest again."""
    simulators = targets({}, {"fault": ("deny@core-2",)})
    text = Path("targets.toml").read_text(encoding="utf-8")
    Path("targets.toml").write_text(text.replace("1" * 12, "9" * 12), encoding="utf-8")
    result = cli(*RUN)
    assert (result.code, exits(result.json)) == (4, {"t1": 4, "t2": 3})
    assert simulators[0].service.fleet.page_of_things("core-1", "", 10)[0]
    cli("report", "camp", "--failures", "failures.csv")
    Path("targets.toml").write_text(text, encoding="utf-8")
    assert cli("fleet", "plan", "failures.csv", "--targets", "targets.toml", "--json").json["things"] == 4


def test_bad_rows_and_limits_stop_before_the_first_request(cli: CommandRunner, targets: StartTargets) -> None:
    """The rows are named by line, and no folder is left."""
    targets({}, {})
    with Path("fleet.csv").open("a", encoding="utf-8") as file:
        file.write("core-1,x,elsewhere\n")
    result = cli(*RUN)
    assert result.code == 2
    assert "fleet.csv:26: no target for target elsewhere" in result.err
    result = cli(*RUN, "--skip-bad-rows", "--max-things", 23)
    assert result.code == 4
    assert not Path("camp").exists()
    result = cli(*RUN, "--skip-bad-rows", "--max-things", 24)
    assert (result.code, result.json["things"]["rejected"]) == (0, 1)
    result = cli(*RUN, "--skip-bad-rows")
    assert result.code == 2
    assert "asyncgg resume camp" in result.err


def test_failed_wave_keeps_later_waves_from_starting(cli: CommandRunner, targets: StartTargets) -> None:
    """The canary fails, so nothing is sent to the others; resume keeps the waves."""
    simulators = targets({}, {"fault": ("expired-token",)}, {})
    result = cli(*RUN, "--canary", "t2", "--waves", "1")
    assert (result.code, exits(result.json)) == (5, {"t1": 4, "t2": 5, "t3": 4})
    again = cli("resume", "camp", "--yes", "--json")
    assert (again.code, exits(again.json)) == (5, exits(result.json))
    assert result.json["requests"]["sent"] == again.json["requests"]["sent"] == 0
    simulators[1].service.set_faults(("deny@core-2",))
    simulators[2].service.set_faults(("expired-token",))
    assert exits(cli("resume", "camp", "--yes", "--json").json) == {"t1": 4, "t2": 3, "t3": 4}
    assert exits(cli("resume", "camp", "--yes", "--json").json) == {"t1": 0, "t2": 3, "t3": 5}


def test_abort_targets_stops_the_others(cli: CommandRunner, targets: StartTargets) -> None:
    """A third of the targets is broken, which is more than allowed."""
    plan = FleetSpec.from_things({f"core-{number}": ["a"] for number in range(200)}, now=1000.0)
    slow = {"rate": 20.0, "burst": 5.0}
    targets({"fault": ("expired-token",)}, slow, slow, plan=plan)
    result = cli(*RUN, "--abort-targets", 30)
    assert (result.code, exits(result.json)) == (5, {"t1": 5, "t2": 4, "t3": 4})
    assert "--abort-targets" in result.json["targets"][1]["reason"]


def test_shards_do_what_one_process_does(cli: CommandRunner, targets: StartTargets) -> None:
    """Each shard runs its own targets in the same folder; all together are the campaign."""
    targets({}, {}, {}, {})
    for shard, names in (("0/3", ["t1", "t4"]), ("1/3", ["t2"]), ("2/3", ["t3"])):
        document = cli(*RUN, "--shard", shard).json
        assert exits(document) == dict.fromkeys(names, 0)
    document = cli("status", "camp", "--json").json
    assert (document["state"], document["things"]["disassociated"]) == ("complete", 48)
    assert cli(*RUN, "--shard", "0/3").json["requests"]["sent"] == 6, "a shard that starts again sends nothing"


def test_lanes_lists_the_targets_with_their_index(cli: CommandRunner, targets: StartTargets) -> None:
    """For the scheduler of another system."""
    targets({}, {})
    document = json.loads(cli("fleet", "lanes", "--targets", "targets.toml", "--json").out)
    assert [(lane["index"], lane["name"], lane["account"]) for lane in document["lanes"]] == [
        (0, "t1", "1" * 12),
        (1, "t2", "2" * 12),
    ]


def test_targets_file_can_be_in_s3(
    cli: CommandRunner, targets: StartTargets, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For containers; a missing object is named."""
    targets({}, {})
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of boto3
        client = boto3.client("s3", endpoint_url=moto_url, region_name="us-east-1")
        client.create_bucket(Bucket="fleet-targets")
        client.put_object(Bucket="fleet-targets", Key="a/t.toml", Body=Path("targets.toml").read_bytes())
    result = cli("fleet", "lanes", "--targets", "s3://fleet-targets/a/t.toml", "--json")
    assert [lane["name"] for lane in result.json["lanes"]] == ["t1", "t2"]
    result = cli("fleet", "lanes", "--targets", "s3://fleet-targets/b.toml")
    assert (result.code, "s3://fleet-targets/b.toml" in result.err) == (2, True), result.err


def test_processes_share_the_targets_and_one_may_be_killed(cli: CommandRunner, targets: StartTargets) -> None:
    """The targets of the killed process end alone, and a resume finishes what is left."""
    plan = FleetSpec.from_things({f"core-{number}": ["a"] for number in range(40)}, now=1000.0)
    slow = {"rate": 20.0, "burst": 10.0, "fault": ("expired-token",)}
    simulators = targets(slow, slow, slow, slow, plan=plan)
    text = Path("targets.toml").read_text(encoding="utf-8")
    Path("targets.toml").write_text(text.replace("burst = 10.0", "burst = 4.0"), encoding="utf-8")
    assert cli(*RUN).code == 5
    for simulator in simulators:
        simulator.service.set_faults(())
    campaign = Campaign.load(Path("camp"))
    options = HostOptions(mode=RunMode.RESUME, overrides={}, state=None, has_metrics=False, log_level=logging.WARNING)

    async def run_and_kill() -> list[LaneResult]:
        def kill_one(report: Mapping[str, Any]) -> None:
            if "t2" in report.get("progress", {}):
                executor._workers[1].process.kill()

        command = (sys.executable, "-m", "asyncgg.cli.lane_worker")
        executor = ProcessExecutor(command, 2, options, kill_one)
        return await CampaignRun(campaign.lanes, executor).run()

    results = asyncio.run(run_and_kill())
    assert [result.exit for result in results] == [0, 1, 0, 1]
    for result in results[1::2]:
        assert result.reason == "its worker process died (signal SIGKILL); resume the campaign"
        assert 0 < result.things["pending"] <= 40
    resumed = cli("resume", "camp", "--yes", "--json", "--processes", 2)
    assert (resumed.code, exits(resumed.json)) == (0, dict.fromkeys(("t1", "t2", "t3", "t4"), 0))
    things = resumed.json["things"]
    assert things["disassociated"] + things["already"] == 160
    assert [len(simulator.service.fleet) for simulator in simulators] == [0, 0, 0, 0]
    verified = cli("verify", "camp", "--json")
    assert (verified.code, verified.json["exit"]) == (0, 0)
    assert [target["things"]["confirmed"] for target in verified.json["targets"]] == [40, 40, 40, 40]


def test_broken_journal_ends_its_target_only(cli: CommandRunner, targets: StartTargets) -> None:
    """Status names it, and resume finishes the other targets."""
    targets({}, {"fault": ("expired-token",)})[1].service.set_faults(("expired-token=1",))
    assert cli(*RUN).code == 5
    Path("camp/t1.journal").write_bytes(b"no database")
    document = cli("status", "camp", "--json").json
    assert exits(document)["t1"] == 2
    assert "not an asyncgg journal" in document["targets"][0]["reason"]
    report = cli("report", "camp", "--outcomes", "all.csv")
    assert (report.code, "t1 is not complete in the lists" in report.err) == (2, True)
    assert Path("all.csv").read_text(encoding="utf-8").count(",t2\n") == 12
    result = cli("resume", "camp", "--yes", "--json")
    assert (result.code, exits(result.json)) == (2, {"t1": 2, "t2": 0})


@pytest.mark.parametrize("arguments", [("--shard", "0/2"), ("--processes", "2")])
def test_options_of_a_campaign_are_refused_for_a_journal(cli: CommandRunner, arguments: tuple[str, str]) -> None:
    """A usage error that says what to give."""
    result = cli("resume", "run.journal", *arguments)
    assert result.code == 2
    assert "give its folder" in result.err


def test_role_is_assumed_in_each_target(
    cli: CommandRunner, targets: StartTargets, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account of each target is that of its role, also when the campaign is retried."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto_url)
    config = '[profile hub]\naws_access_key_id = AKIDHUB\naws_secret_access_key = "secret"\nregion = eu-west-1\n'
    Path("config").write_text(config, encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", "config")
    simulators = targets({}, {"fault": ("deny@core-2",)})
    text = Path("targets.toml").read_text(encoding="utf-8")
    for number in "12":
        role = f'role-arn = "arn:aws:iam::{number * 12}:role/r"\nexternal-id = "x-1"\nsource-profile = "hub"'
        text = text.replace(f'account = "{number * 12}"', f'account = "{number * 12}"\n{role}')
    Path("targets.toml").write_text(text, encoding="utf-8")
    result = cli(*RUN)
    assert exits(result.json) == {"t1": 0, "t2": 3}
    simulators[1].service.set_faults(())
    assert cli("retry", "camp", "--yes").code == 0
    for number in "12":
        with JournalReader(Path("camp") / f"t{number}.journal") as reader:
            assert reader.meta()["arn"] == f"arn:aws:sts::{number * 12}:assumed-role/r/asyncgg"


def test_state_has_the_journals_of_a_campaign(cli: CommandRunner, targets: StartTargets) -> None:
    """Every command of the campaign uses it, the same command continues it, and shards need no common folder."""
    simulators = targets({}, {"fault": ("deny@core-2",)}, {"fault": ("expired-token",)})
    state = ("--state", "share")
    result = cli(*RUN, *state)
    assert (result.code, exits(result.json)) == (5, {"t1": 0, "t2": 3, "t3": 5})
    assert "expired" in result.json["targets"][2]["reason"]
    assert not list(Path("camp").glob("*.journal"))
    assert exits(cli("status", "camp", "--json").json) == exits(result.json)
    for simulator in simulators:
        simulator.service.set_faults(())
    shards = [cli(*RUN, *state, "--campaign", f"shard{k}", "--shard", f"{k}/2").json for k in (0, 1)]
    assert [exits(shard) for shard in shards] == [{"t1": 0, "t3": 0}, {"t2": 3}]
    assert shards[0]["targets"][0]["requests"]["sent"] == result.json["targets"][0]["requests"]["sent"]
    assert cli("retry", "camp", "--yes").code == 0
    report = cli("report", "camp", "--outcomes", "all.csv", "--json").json
    assert (report["state"], report["things"]["disassociated"]) == ("complete", 36)
    assert len(Path("all.csv").read_text(encoding="utf-8").splitlines()) == 37
    assert cli("verify", "camp", "--json").code == 0
    undone = cli("undo", "camp", "--assume-associated", "--yes", "--journal", "back", "--json")
    assert (undone.code, undone.json["things"]["associated"]) == (0, 36)
    assert "back/t2.journal, 12 of 12 things" in cli("report", "--state", "share/t2").out
    with JournalReader(Path("back/t2.journal")) as reader:
        assert "share/t2: 2" in reader.meta()["source"]  # not the path of a temporary copy
    assert cli("status", "--state", "share/t2", "--json").json["things"]["disassociated"] == 12
    assert "share/TARGET" in cli("status", "--state", "share").err
    with Path("fleet.csv").open("a", encoding="utf-8") as file:
        file.write("core-1,x,t1\n")
    other = cli(*RUN, *state, "--campaign", "other")
    assert other.code == 2
    assert "choose another --state" in other.err
    assert not Path("other").exists()


def test_dask_names_what_it_needs(
    cli: CommandRunner, targets: StartTargets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A state, the extra, a scheduler that answers, and no option of another executor."""
    targets({})
    dask = ("--dask", "tcp://127.0.0.1:9")
    for words, message in (((), "--dask needs --state"), (("--state", "s", "--shard", "0/2"), "does not go with")):
        result = cli(*RUN, *dask, *words)
        assert (result.code, message in result.err) == (2, True), result.err
    result = cli(*RUN, "--dask", "scheduler", "--state", "s")
    assert (result.code, "must be tcp://HOST:PORT" in result.err) == (2, True), result.err
    monkeypatch.setitem(sys.modules, "asyncgg.fleet.dask_executor", None)
    result = cli(*RUN, *dask, "--state", "s")
    assert (result.code, "pip install 'asyncgg[dask]'" in result.err) == (2, True), result.err
    assert not Path("camp").exists()
