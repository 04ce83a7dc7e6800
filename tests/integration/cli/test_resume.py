"""`resume` and `retry`: what they send, where they send it, and when they refuse."""

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


def test_resume_does_the_rest(cli: CommandRunner, serve: StartSimulator) -> None:
    """What the deadline left pending is done by a resume with a longer one, and no thing is sent twice."""
    simulator = serve(small_fleet(12, 1))
    first = cli(
        "disassociate", "fleet.csv", "--yes", "--json", "--rate", 20, "--deadline", "200ms", "--journal", "run.journal"
    )
    assert first.code == 10
    assert first.json["things"]["pending"] > 0
    ended = cli("resume", "run.journal", "--yes", "--json", "--rate", 500, "--deadline", "1m")
    assert ended.code == 0
    assert f"resume: disassociate the {first.json['things']['pending']} pending of 12 things" in ended.err
    assert ended.json["things"]["disassociated"] == 12
    assert ended.json["requests"]["sent"] == 12
    assert simulator.service.counters.summary()["things"]["most_times_carried"] == 1


def test_retry_sends_only_what_failed(cli: CommandRunner, serve: StartSimulator) -> None:
    """After the cause is gone a retry sends the failed things and no others; a second one finds nothing to do."""
    simulator = serve(fault=("deny@core-2",))
    _run_partially(cli)
    simulator.service.set_faults(())
    ended = cli("retry", "run.journal", *RUN_OPTIONS)
    assert ended.code == 0
    assert ended.json["things"]["disassociated"] == 12
    assert ended.json["requests"]["sent"] == 4
    second = cli("retry", "run.journal", "--yes", "--json")
    assert second.code == 0
    assert second.err == "no failed things to retry\n"
    assert second.json["state"] == "complete"
    assert simulator.service.counters.requests.total() == 4


def test_a_retry_that_fails_again_is_3(cli: CommandRunner, serve: StartSimulator) -> None:
    """Things that fail again leave the run partial, however often they are retried."""
    serve(fault=("entry:AccessDeniedException@thing-2-*",))
    _run_partially(cli)
    for _ in range(2):
        ended = cli("retry", "run.journal", *RUN_OPTIONS)
        assert ended.code == 3
        assert ended.json["things"] == ended.json["things"] | {"disassociated": 8, "failed": 4, "pending": 0}
        assert ended.json["failures"] == {"AccessDeniedException": 4}


def test_a_retry_of_what_is_denied_is_5(cli: CommandRunner, serve: StartSimulator) -> None:
    """When all that is left is denied again, it is the permission that is missing."""
    serve(fault=("deny@core-2",))
    _run_partially(cli)
    ended = cli("retry", "run.journal", *RUN_OPTIONS)
    assert ended.code == 5
    assert "grant greengrass:" in ended.json["reason"]


def test_resume_with_nothing_pending_tells_the_state(cli: CommandRunner, serve: StartSimulator) -> None:
    """Nothing is sent, and the exit code is the one of how the run ended."""
    simulator = serve(fault=("deny@core-2",))
    _run_partially(cli)
    sent = simulator.service.counters.requests.total()
    ended = cli("resume", "run.journal", "--json")
    assert ended.code == 3
    assert ended.err == "no pending things to resume\n"
    assert ended.json["things"]["failed"] == 4
    assert simulator.service.counters.requests.total() == sent


def test_a_run_killed_after_its_last_outcome_is_concluded(cli: CommandRunner, serve: StartSimulator) -> None:
    """A journal whose things all have outcomes and that still says running becomes complete."""
    serve()
    _run_partially(cli)
    with sqlite3.connect("run.journal") as connection:
        connection.execute("UPDATE meta SET value = 'running' WHERE key = 'state'")
    connection.close()
    assert cli("status", "run.journal", "--json").json["state"] == "interrupted"
    assert cli("resume", "run.journal", "--json").code == 0
    assert cli("status", "run.journal", "--json").json["state"] == "complete"


def test_without_a_terminal_it_needs_yes(cli: CommandRunner, serve: StartSimulator) -> None:
    """A resume asks as the first start did: without a terminal and without --yes it is refused, exit 2."""
    _run_to_deadline(cli, serve)
    ended = cli("resume", "run.journal")
    assert ended.code == 2
    assert "no terminal to confirm on" in ended.err


def test_the_endpoint_is_the_recorded_one(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another AWS_ENDPOINT_URL and another Region in the environment change nothing for a run that was begun."""
    _run_to_deadline(cli, serve)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    ended = cli("resume", "run.journal", *RUN_OPTIONS, "--deadline", "1m")
    assert ended.code == 0
    assert ended.json["things"]["disassociated"] == 12


def test_an_endpoint_that_only_the_environment_names_is_refused(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run begun at AWS itself does not go to an endpoint the environment names later; an option may send it there."""
    simulator = serve(small_fleet(12, 1))
    cli("disassociate", "fleet.csv", "--yes", "--rate", 20, "--deadline", "200ms", "--journal", "run.journal")
    with sqlite3.connect("run.journal") as connection:
        connection.execute("UPDATE meta SET value = 'false' WHERE key = 'custom'")
    connection.close()
    ended = cli("resume", "run.journal", "--yes")
    assert ended.code == 2
    assert f"AWS_ENDPOINT_URL now names {simulator.url}" in ended.err
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert cli("resume", "run.journal", *RUN_OPTIONS, "--deadline", "1m", "--endpoint-url", simulator.url).code == 0


def test_another_account_is_refused(cli: CommandRunner, serve: StartSimulator) -> None:
    """A run begun in one account does not go on in another: exit 4."""
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
    ended = cli("resume", "run.journal", "--yes")
    assert ended.code == 4
    assert "begun in account 999999999999" in ended.err
    assert simulator.service.counters.requests.total() == sent
