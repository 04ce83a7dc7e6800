"""Tests of `asyncgg resume` and `asyncgg retry`."""

from __future__ import annotations

import sqlite3

import pytest

from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner, small_fleet

RUN_OPTIONS = ("--rate", "500", "--yes", "--quiet", "--json")


def _run_partially(cli: CommandRunner, *options: object) -> None:
    cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--journal", "run.journal", *options)


def _run_to_deadline(cli: CommandRunner, serve: StartSimulator) -> None:
    serve(small_fleet(12, 1))
    options = ("--yes", "--rate", 20, "--deadline", "200ms", "--journal", "run.journal")
    assert cli("disassociate", "fleet.csv", *options).code == 10


def test_resume_sends_the_pending_things(cli: CommandRunner, serve: StartSimulator) -> None:
    """What the deadline left pending is sent, and no thing twice."""
    simulator = serve(small_fleet(12, 1))
    first = cli(
        "disassociate", "fleet.csv", "--yes", "--json", "--rate", 20, "--deadline", "200ms", "--journal", "run.journal"
    )
    assert first.code == 10
    assert first.json["things"]["pending"] > 0
    result = cli("resume", "run.journal", "--yes", "--json", "--rate", 500, "--deadline", "1m")
    assert result.code == 0
    assert f"resume: disassociate the {first.json['things']['pending']} pending of 12 things" in result.err
    assert result.json["things"]["disassociated"] == 12
    assert result.json["requests"]["sent"] == 12
    assert simulator.service.counters.summary()["things"]["most_times_carried"] == 1


def test_retry_sends_only_failed_things(cli: CommandRunner, serve: StartSimulator) -> None:
    """A retry sends the failed things; a second one has nothing to do."""
    simulator = serve(fault=("deny@core-2",))
    _run_partially(cli)
    simulator.service.set_faults(())
    result = cli("retry", "run.journal", *RUN_OPTIONS)
    assert result.code == 0
    assert result.json["things"]["disassociated"] == 12
    assert result.json["requests"]["sent"] == 4
    second = cli("retry", "run.journal", "--yes", "--json")
    assert second.code == 0
    assert second.err == "no failed things to retry\n"
    assert second.json["state"] == "complete"
    assert simulator.service.counters.requests.total() == 4


def test_retry_failing_again_exits_3(cli: CommandRunner, serve: StartSimulator) -> None:
    """Things that fail again leave the run partial."""
    serve(fault=("entry:AccessDeniedException@thing-2-*",))
    _run_partially(cli)
    for _ in range(2):
        result = cli("retry", "run.journal", *RUN_OPTIONS)
        assert result.code == 3
        assert result.json["things"] == result.json["things"] | {"disassociated": 8, "failed": 4, "pending": 0}
        assert result.json["failures"] == {"AccessDeniedException": 4}


def test_retry_denied_again_exits_5(cli: CommandRunner, serve: StartSimulator) -> None:
    """When everything left is denied, the permission is missing."""
    serve(fault=("deny@core-2",))
    _run_partially(cli)
    result = cli("retry", "run.journal", *RUN_OPTIONS)
    assert result.code == 5
    assert "grant greengrass:" in result.json["reason"]


def test_resume_nothing_pending_exits_as_the_run(cli: CommandRunner, serve: StartSimulator) -> None:
    """Nothing is sent; the exit code is that of the state."""
    simulator = serve(fault=("deny@core-2",))
    _run_partially(cli)
    sent = simulator.service.counters.requests.total()
    result = cli("resume", "run.journal", "--json")
    assert result.code == 3
    assert result.err == "no pending things to resume\n"
    assert result.json["things"]["failed"] == 4
    assert simulator.service.counters.requests.total() == sent


def test_resume_killed_after_last_outcome_marks_complete(cli: CommandRunner, serve: StartSimulator) -> None:
    """A journal without pending things that is still marked running becomes complete."""
    serve()
    _run_partially(cli)
    with sqlite3.connect("run.journal") as connection:
        connection.execute("UPDATE meta SET value = 'running' WHERE key = 'state'")
    connection.close()
    assert cli("status", "run.journal", "--json").json["state"] == "interrupted"
    assert cli("resume", "run.journal", "--json").code == 0
    assert cli("status", "run.journal", "--json").json["state"] == "complete"


def test_resume_without_terminal_needs_yes(cli: CommandRunner, serve: StartSimulator) -> None:
    """Without a terminal and --yes the command is refused."""
    _run_to_deadline(cli, serve)
    result = cli("resume", "run.journal")
    assert result.code == 2
    assert "no terminal to confirm on" in result.err


def test_resume_ignores_endpoint_and_region_of_the_environment(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorded endpoint and Region are used."""
    _run_to_deadline(cli, serve)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    result = cli("resume", "run.journal", *RUN_OPTIONS, "--deadline", "1m")
    assert result.code == 0
    assert result.json["things"]["disassociated"] == 12


def test_resume_endpoint_only_in_environment_exits_2(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run at AWS is not sent to an endpoint from the environment; an option can do that."""
    simulator = serve(small_fleet(12, 1))
    cli("disassociate", "fleet.csv", "--yes", "--rate", 20, "--deadline", "200ms", "--journal", "run.journal")
    with sqlite3.connect("run.journal") as connection:
        connection.execute("UPDATE meta SET value = 'false' WHERE key = 'custom'")
    connection.close()
    result = cli("resume", "run.journal", "--yes")
    assert result.code == 2
    assert f"AWS_ENDPOINT_URL sets {simulator.url}" in result.err
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert cli("resume", "run.journal", *RUN_OPTIONS, "--deadline", "1m", "--endpoint-url", simulator.url).code == 0


def test_resume_other_account_exits_4(cli: CommandRunner, serve: StartSimulator) -> None:
    """A run is not continued in another account."""
    simulator = serve(small_fleet(12, 1))
    cli(
        "disassociate",
        "fleet.csv",
        *("--yes", "--rate", 20, "--deadline", "200ms", "--journal", "run.journal"),
        *("--expect-account", "123456789012"),
    )
    with sqlite3.connect("run.journal") as connection:
        connection.execute("UPDATE meta SET value = '999999999999' WHERE key = 'account'")
    connection.close()
    sent = simulator.service.counters.requests.total()
    result = cli("resume", "run.journal", "--yes")
    assert result.code == 4
    assert "started in account 999999999999" in result.err
    assert simulator.service.counters.requests.total() == sent
