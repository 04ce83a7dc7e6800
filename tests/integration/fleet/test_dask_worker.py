"""Tests of what the driver and the workers of a Dask cluster exchange."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asyncgg.fleet.campaign import CampaignLane
from asyncgg.fleet.campaign_state import CampaignState
from asyncgg.fleet.dask_executor import DaskExecutor
from asyncgg.fleet.dask_worker import describe_difference, run_lane_task, versions
from asyncgg.fleet.lane_host import HostOptions
from asyncgg.runs import RunMode

LANE = CampaignLane(0, "t1", "111111111111", "eu-west-1", Path("camp/t1.journal"))
STATE = CampaignState(location="s3://bucket/one", id="c1", digest="d", request_timeout=60.0)


def executor(**overrides: object) -> DaskExecutor:
    """An executor that is not connected."""
    options = HostOptions(mode=RunMode.RESUME, overrides=overrides, state=STATE, has_metrics=False, log_level=30)
    return DaskExecutor("tcp://127.0.0.1:9", options, print)


def test_arguments_of_a_task_have_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler keeps them: neither credentials of the environment nor URLs with passwords."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "hidden-key")
    text = executor(rate="10", metrics_push="https://user:hidden@gateway").task_arguments(LANE)
    assert "hidden" not in text
    assert json.loads(text)["options"]["overrides"] == {"rate": "10"}


async def test_worker_of_another_version_runs_no_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that joined after the driver had checked all: the result names what differs."""
    monkeypatch.setattr("asyncgg.fleet.dask_worker.get_worker", lambda: type("Worker", (), {"address": "tcp://w:1"}))
    task = json.loads(executor().task_arguments(LANE))
    task["versions"]["asyncgg"] = "0.0.1"
    result = json.loads(await run_lane_task(json.dumps(task)))
    assert result["exit"] == 2
    assert "tcp://w:1 has asyncgg" in result["reason"]
    assert "instead of 0.0.1" in result["reason"]


def test_equal_versions_do_not_differ() -> None:
    """Everything that must be equal is compared, also with a worker that does not know it."""
    assert describe_difference(versions(), versions()) == ""
    assert "journal format missing" in describe_difference(versions(), {"asyncgg": versions()["asyncgg"]})
