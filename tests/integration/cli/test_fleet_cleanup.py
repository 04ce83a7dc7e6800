"""Tests of `asyncgg fleet cleanup`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asyncgg.notify import Message
from asyncgg.simulator import FleetSpec, Simulator
from tests.integration.cli.conftest import StartTargets
from tests.support.command_line import CommandRunner

POLICY = """
name = "nightly"
[guards]
max-things = 2
[notify]
webhook = "http://127.0.0.1:9/hook"
[[rule]]
id = "old"
name = "old-*"
"""
RUN = ("fleet", "cleanup", "nightly.toml", "--targets", "targets.toml", "--json")


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """The notifications."""
    sent: list[Message] = []

    async def deliver(targets: Any, message: Message, **options: Any) -> list[str]:
        sent.append(message)
        return []

    monkeypatch.setattr("asyncgg.cli.fleet_cleanup.notify", deliver)
    return sent


def remaining(simulators: list[Simulator]) -> list[int]:
    """The number of associations of each target."""
    return [sum(map(len, simulator.service.fleet.things.values())) for simulator in simulators]


def test_targets_have_ordinary_runs_and_end_alone(
    cli: CommandRunner, targets: StartTargets, messages: list[Message]
) -> None:
    """One without credentials and one over its guard do not stop the others; the next run does the rest."""
    plan = FleetSpec.from_things({"core-1": ["old-1", "old-2", "new"]}, now=1000.0)
    simulators = targets({}, {"fault": ("expired-token",)}, {}, plan=plan)
    Path("nightly.toml").write_text(POLICY, encoding="utf-8")
    simulators[2].service.fleet.associate("core-1", "old-3", 1000.0)

    assert cli(*RUN, "--dry-run").json["things"]["selected"] == 5
    assert remaining(simulators) == [3, 3, 4]
    total = cli(*RUN, "--max-things", 1)
    assert [target["exit"] for target in total.json["targets"]] == [4, 5, 4]
    assert "2 things selected in all targets" in total.json["targets"][0]["reason"]
    assert remaining(simulators) == [3, 3, 4]

    second = cli(*RUN)
    assert (second.code, [target["exit"] for target in second.json["targets"]]) == (5, [0, 5, 4])
    assert second.json["things"]["disassociated"] == 2
    assert remaining(simulators) == [1, 3, 4]
    assert [message.event for message in messages] == ["failure"] * 2
    assert "1 of 3 targets complete, not: t2, t3" in messages[-1].text
    files = second.json["targets"][0]["files"]
    assert "nightly.state-by-target/t1/" in files["journal"]
    assert cli("undo", files["journal"], "--yes").code == 0, "an ordinary journal, with proof of the state before"

    simulators[1].service.set_faults(())
    text = Path("nightly.toml").read_text(encoding="utf-8")
    Path("nightly.toml").write_text(text.replace("max-things = 2", "max-things = 3"), encoding="utf-8")
    second = cli(*RUN)
    assert (second.code, second.json["things"]["disassociated"]) == (0, 7)
    assert remaining(simulators) == [1, 1, 1]


def test_failed_canary_target_stops_the_others(
    cli: CommandRunner, targets: StartTargets, messages: list[Message]
) -> None:
    """They do not even scan."""
    simulators = targets({}, {"fault": ("expired-token",)})
    Path("nightly.toml").write_text(POLICY, encoding="utf-8")
    result = cli(*RUN, "--canary", "t2")
    assert (result.code, [target["exit"] for target in result.json["targets"]]) == (5, [4, 5])
    assert simulators[0].service.counters.requests.total() == 0
    assert len(messages) == 1
    assert cli(*RUN, "--canary", "t9").code == 2
    Path("targets.toml").unlink()
    assert cli(*RUN).code == 2
    assert "targets file not found" in messages[-1].text
    assert len(messages) == 3
