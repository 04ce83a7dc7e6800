"""The contract's exit codes and sentences, each by the command line that leads to it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from asyncgg.simulator import FleetSpec
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner, small_fleet

RUN_OPTIONS = ("--rate", "500", "--yes", "--quiet")


def test_all_done_is_0(cli: CommandRunner, serve: StartSimulator) -> None:
    """Every thing disassociated: exit 0, and the service has none left."""
    simulator = serve()
    ended = cli("disassociate", "fleet.csv", *RUN_OPTIONS)
    assert ended.code == 0
    assert "complete: every thing is disassociated" in ended.out
    assert "12 of 12 disassociated, 0 failed" in ended.out
    assert not any(simulator.service.fleet.things.values())


def test_some_failed_is_3(cli: CommandRunner, serve: StartSimulator) -> None:
    """Things that do not exist fail, the others are done: exit 3, the code named, the next commands too."""
    serve()
    with Path("fleet.csv").open("a", encoding="utf-8") as file:
        file.write("core-1,ghost\nghost-core,thing\n")
    ended = cli("disassociate", "fleet.csv", *RUN_OPTIONS)
    assert ended.code == 3
    assert "12 of 14 disassociated, 2 failed" in ended.out
    assert "ResourceNotFoundException  2" in ended.out
    assert "asyncgg retry asyncgg-" in ended.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["disassociate"], "nothing selected: give a manifest"),
        (["disassociate", "fleet.csv", "--nosuch"], "--nosuch"),
        (["disasociate", "fleet.csv"], "No such command 'disasociate'"),
        (["disassociate", "none.csv", "--yes"], "none.csv: no such file"),
        (["disassociate", "taken", "--yes"], "taken: unknown format"),
        (["disassociate", "folder.csv", "--yes"], "folder.csv is a directory"),
        (["disassociate", "bad.csv", "--yes"], "bad.csv:3: thing is empty"),
        (["disassociate", "empty.csv", "--yes"], "empty.csv has no associations"),
        (["disassociate", "fleet.csv", "--yes", "--format", "xml"], "unknown manifest format `xml`"),
        (["disassociate", "fleet.csv", "--yes", "--rate", "0"], "--rate: input should be greater than 0"),
        (["disassociate", "fleet.csv", "--yes", "--deadline", "soon"], "--deadline: 'soon' must be a duration"),
        (
            ["disassociate", "fleet.csv", "--yes", "--expect-account", "12"],
            "--expect-account: '12' must be an AWS account",
        ),
        (["disassociate", "fleet.csv", "--yes", "--journal", "taken"], "taken already exists"),
        (["disassociate", "fleet.csv", "--yes", "--journal", "no/j"], "no/j: cannot create"),
        (["disassociate", "fleet.csv", "--yes", "--protect", "none.txt"], "none.txt: no such file"),
        (["disassociate", "fleet.csv", "--yes", "--rejects", "j", "--journal", "j"], "the same file"),
        (["disassociate", "fleet.csv", "--yes", "--config", "none.toml"], "none.toml: settings file not found"),
        (["disassociate", "fleet.csv"], "no terminal to confirm on, nothing was sent; pass --yes"),
        (["resume", "none.journal"], "none.journal: no such file"),
        (["retry", "taken"], "taken is not an asyncgg journal"),
        (["status", "folder.csv"], "folder.csv is a directory"),
        (["report", "taken"], "taken is not an asyncgg journal"),
        (["simulator", "--fault", "nonsense"], "no fault is called 'nonsense'"),
        (["simulator", "--port", "99999"], "port 99999: give 0 to 65535"),
    ],
)
def test_usage_and_manifest_are_2(
    cli: CommandRunner, serve: StartSimulator, arguments: list[str], sentence: str
) -> None:
    """What cannot be done as asked ends with 2, says why in one sentence, and sends and leaves nothing."""
    simulator = serve()
    Path("folder.csv").mkdir()
    Path("bad.csv").write_text("core,thing\ncore-1,thing-1-1\ncore-1,\n", encoding="utf-8")
    Path("empty.csv").write_text("core,thing\n", encoding="utf-8")
    Path("taken").write_text("something else that is long enough to be a file of its own", encoding="utf-8")
    ended = cli(*arguments)
    assert ended.code == 2, ended.err
    assert ended.err.startswith("error: ")
    assert sentence in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert simulator.service.counters.requests.total() == 0
    assert not list(Path().glob("*.journal*"))
    assert not Path("j").exists()


def test_no_command_is_2(cli: CommandRunner) -> None:
    """`asyncgg` alone shows its help on standard error and ends with 2."""
    ended = cli()
    assert ended.code == 2
    assert "Commands:" in ended.err
    assert ended.out == ""


def test_no_region_is_2(cli: CommandRunner) -> None:
    """Without an endpoint and a Region nothing is guessed."""
    Path("fleet.csv").write_text("core,thing\na,b\n", encoding="utf-8")
    ended = cli("disassociate", "fleet.csv", "--yes")
    assert ended.code == 2
    assert "no AWS Region: give --region" in ended.err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--max-things", "11"], "12 things, --max-things allows 11; nothing was sent"),
        (["--expect-account", "999999999999"], "for account 123456789012, not 999999999999"),
    ],
)
def test_a_guard_before_the_first_request_is_4(
    cli: CommandRunner, serve: StartSimulator, options: list[str], sentence: str
) -> None:
    """A guard that can act before the first request does: exit 4, nothing sent, no journal; `plan` agrees."""
    simulator = serve()
    for command in (["disassociate", "fleet.csv", "--yes"], ["plan", "fleet.csv"]):
        ended = cli(*command, *options)
        assert ended.code == 4
        assert sentence in ended.err
    assert simulator.service.counters.requests.total() == 0
    assert not list(Path().glob("*.journal*"))


def test_guards_that_are_content_let_it_pass(cli: CommandRunner, serve: StartSimulator) -> None:
    """The right account and exactly as many things as allowed are no reason to stop."""
    serve()
    ended = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--max-things", 12, "--expect-account", "123456789012")
    assert ended.code == 0


def test_the_abort_rule_is_4(cli: CommandRunner, serve: StartSimulator) -> None:
    """Too many failed things stop the run: exit 4, the reason said, what is left pending and resumable."""
    serve(FleetSpec.from_things({f"core-{n}": [] for n in range(1, 41)}, now=1000.0))
    Path("fleet.csv").write_text("core,thing\n" + "".join(f"core-{n},x\n" for n in range(1, 41)), encoding="utf-8")
    ended = cli(
        "disassociate", "fleet.csv", "--yes", "--rate", 100, "--concurrency", 1, "--abort-at", 50, "--abort-after", 5
    )
    assert ended.code == 4
    assert "the abort threshold is 50 %" in ended.out
    assert "asyncgg resume asyncgg-" in ended.out


def test_no_credentials_is_5(cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials: exit 5, the way out named, no journal left."""
    serve()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    ended = cli("disassociate", "fleet.csv", *RUN_OPTIONS)
    assert ended.code == 5
    assert "no AWS credentials" in ended.err
    assert "nothing was sent" in ended.err
    assert not list(Path().glob("*.journal*"))


def test_no_permission_is_5(cli: CommandRunner, serve: StartSimulator) -> None:
    """Denied for every core: exit 5 and the permission that is missing."""
    serve(fault=("deny-all",))
    ended = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--json")
    assert ended.code == 5
    assert ended.json["exit"] == 5
    assert ended.json["state"] == "aborted"
    assert "grant greengrass:BatchDisassociateClientDeviceFromCoreDevice" in ended.json["reason"]


def test_the_deadline_is_10(cli: CommandRunner, serve: StartSimulator) -> None:
    """At the deadline it stops: exit 10, the rest pending, how to go on."""
    serve(small_fleet(30, 1))
    ended = cli("disassociate", "fleet.csv", "--yes", "--rate", 20, "--deadline", "300ms")
    assert ended.code == 10
    assert "stopped at the deadline" in ended.out
    assert "pending" in ended.out
    assert "asyncgg resume asyncgg-" in ended.out


def test_a_fault_of_ours_is_1(cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception is one line with its type and message; only --debug shows a traceback."""
    serve()

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("such a pity")

    monkeypatch.setattr("asyncgg.cli.context.CommandContext.resolve_endpoint", broken)
    ended = cli("disassociate", "fleet.csv", "--yes")
    assert ended.code == 1
    assert ended.err == (
        "error: ZeroDivisionError: such a pity; internal error; please report it (pass --debug for a traceback)\n"
    )
    assert "Traceback" in cli("disassociate", "fleet.csv", "--yes", "--debug").err


def test_bad_rows_can_be_skipped_and_kept(cli: CommandRunner, serve: StartSimulator) -> None:
    """--skip-bad-rows goes on without them, --rejects has them, and the figures say so."""
    serve()
    text = Path("fleet.csv").read_text(encoding="utf-8") + "core-1,bad thing\ncore-1,thing-1-1\n"
    Path("fleet.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    ended = cli("disassociate", "fleet.csv.gz", *RUN_OPTIONS, "--skip-bad-rows", "--rejects", "bad.csv", "--json")
    assert ended.code == 0
    assert ended.json["things"] == {
        "total": 12,
        "disassociated": 12,
        "failed": 0,
        "pending": 0,
        "rejected": 1,
        "duplicates": 1,
        "protected": 0,
        "already": 0,
    }
    assert "core-1,bad thing" in Path("bad.csv").read_text(encoding="utf-8")
