"""Tests of the exit codes of the contract."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from asyncgg.simulator import FleetSpec
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner, small_fleet

RUN_OPTIONS = ("--rate", "500", "--yes", "--quiet")


def test_disassociate_all_done_exits_0(cli: CommandRunner, serve: StartSimulator) -> None:
    """Every thing is disassociated."""
    simulator = serve()
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS)
    assert result.code == 0
    assert "complete: every thing is disassociated" in result.out
    assert "12 of 12 disassociated, 0 failed" in result.out
    assert not any(simulator.service.fleet.things.values())


@pytest.mark.parametrize(
    ("options", "code", "counts"),
    [
        ((), 3, "12 of 14 disassociated, 1 already, 1 failed"),
        (("--absent", "fail"), 3, "12 of 14 disassociated, 2 failed"),
        (("--missing-cores", "ok"), 0, "12 of 14 disassociated, 2 already, 0 failed"),
    ],
)
def test_disassociate_missing_things_and_cores(
    cli: CommandRunner, serve: StartSimulator, options: tuple[str, ...], code: int, counts: str
) -> None:
    """An absent thing is done, the things of a missing core fail; both can be configured. No retry is suggested."""
    serve()
    with Path("fleet.csv").open("a", encoding="utf-8") as file:
        file.write("core-1,ghost\nghost-core,thing\n")
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, *options)
    assert result.code == code
    assert counts in result.out
    assert ("ResourceNotFoundException" in result.out) == (code == 3)
    assert ("  # not found: check account, Region and list" in result.out) == (code == 3)
    assert "asyncgg retry" not in result.out


def test_disassociate_some_failed_exits_3(cli: CommandRunner, serve: StartSimulator) -> None:
    """The code, the counts and the next commands are shown."""
    serve(fault=("entry:InternalServerException@thing-1-1",))
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--max-attempts", 1)
    assert result.code == 3
    assert "11 of 12 disassociated, 1 failed" in result.out
    assert "InternalServerException  1" in result.out
    assert "asyncgg retry asyncgg-" in result.out


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
        (["disassociate", "fleet.csv", "--yes", "--rate", "0"], "--rate: '0' must be greater than 0"),
        (["disassociate", "fleet.csv", "--yes", "--deadline", "soon"], "--deadline: 'soon' must be a duration"),
        (
            ["disassociate", "fleet.csv", "--yes", "--expect-account", "12"],
            "--expect-account: '12' must be an AWS account",
        ),
        (["disassociate", "fleet.csv", "--yes", "--journal", "taken"], "taken already exists"),
        (["disassociate", "fleet.csv", "--yes", "--journal", "no/j"], "no/j: cannot create"),
        (["disassociate", "fleet.csv", "--yes", "--protect", "none.txt"], "none.txt: no such file"),
        (["disassociate", "fleet.csv", "--yes", "--rejects", "j", "--journal", "j"], "j: would overwrite the journal"),
        (["disassociate", "fleet.csv", "--yes", "--config", "none.toml"], "none.toml: settings file not found"),
        (["disassociate", "fleet.csv"], "no terminal to confirm on, nothing was sent; pass --yes"),
        (["resume", "none.journal"], "none.journal: no such file"),
        (["retry", "taken"], "taken is not an asyncgg journal"),
        (["status", "folder.csv"], "folder.csv is a directory"),
        (["report", "taken"], "taken is not an asyncgg journal"),
        (["simulator", "--fault", "nonsense"], "unknown kind 'nonsense'"),
        (["simulator", "--port", "99999"], "port 99999: must be 0 to 65535"),
    ],
)
def test_invalid_usage_exits_2(cli: CommandRunner, serve: StartSimulator, arguments: list[str], sentence: str) -> None:
    """One error line; nothing is sent and no file is left."""
    simulator = serve()
    Path("folder.csv").mkdir()
    Path("bad.csv").write_text("core,thing\ncore-1,thing-1-1\ncore-1,\n", encoding="utf-8")
    Path("empty.csv").write_text("core,thing\n", encoding="utf-8")
    Path("taken").write_text("something else that is long enough to be a file of its own", encoding="utf-8")
    result = cli(*arguments)
    assert result.code == 2, result.err
    assert result.err.startswith("error: ")
    assert sentence in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert simulator.service.counters.requests.total() == 0
    assert not list(Path().glob("*.journal*"))
    assert not Path("j").exists()


def test_no_command_exits_2_with_help(cli: CommandRunner) -> None:
    """`asyncgg` alone writes its help to standard error."""
    result = cli()
    assert result.code == 2
    assert "Commands:" in result.err
    assert result.out == ""


def test_disassociate_without_region_exits_2(cli: CommandRunner) -> None:
    """Without endpoint and Region the command is refused."""
    Path("fleet.csv").write_text("core,thing\na,b\n", encoding="utf-8")
    result = cli("disassociate", "fleet.csv", "--yes")
    assert result.code == 2
    assert "no AWS Region: give --region" in result.err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--max-things", "11"], "12 things, --max-things allows 11; nothing was sent"),
        (["--expect-account", "999999999999"], "for account 123456789012, not 999999999999"),
    ],
)
def test_guard_before_the_first_request_exits_4(
    cli: CommandRunner, serve: StartSimulator, options: list[str], sentence: str
) -> None:
    """Nothing is sent and no journal is left; `plan` exits the same."""
    simulator = serve()
    for command in (["disassociate", "fleet.csv", "--yes"], ["plan", "fleet.csv"]):
        result = cli(*command, *options)
        assert result.code == 4
        assert sentence in result.err
    assert simulator.service.counters.requests.total() == 0
    assert not list(Path().glob("*.journal*"))


def test_guards_that_hold_exit_0(cli: CommandRunner, serve: StartSimulator) -> None:
    """The expected account and exactly the allowed number of things pass."""
    serve()
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--max-things", 12, "--expect-account", "123456789012")
    assert result.code == 0


def test_abort_rule_exits_4(cli: CommandRunner, serve: StartSimulator) -> None:
    """Too many failed things stop the run; the rest is pending and resumable."""
    serve(FleetSpec.from_things({f"core-{n}": [] for n in range(1, 41)}, now=1000.0))
    Path("fleet.csv").write_text("core,thing\n" + "".join(f"core-{n},x\n" for n in range(1, 41)), encoding="utf-8")
    result = cli(
        "disassociate", "fleet.csv", "--yes", "--rate", 100, "--concurrency", 1, "--abort-at", 50, "--abort-after", 5,
        "--absent", "fail",
    )  # fmt: skip
    assert result.code == 4
    assert "the abort threshold is 50 %" in result.out
    assert "asyncgg resume asyncgg-" in result.out


def test_disassociate_without_credentials_exits_5(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No journal is left."""
    serve()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS)
    assert result.code == 5
    assert "no AWS credentials" in result.err
    assert "nothing was sent" in result.err
    assert not list(Path().glob("*.journal*"))


def test_disassociate_denied_everywhere_exits_5(cli: CommandRunner, serve: StartSimulator) -> None:
    """The reason names the missing permission."""
    serve(fault=("deny-all",))
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--json")
    assert result.code == 5
    assert result.json["exit"] == 5
    assert result.json["state"] == "aborted"
    assert "grant greengrass:BatchDisassociateClientDeviceFromCoreDevice" in result.json["reason"]


def test_deadline_exits_10(cli: CommandRunner, serve: StartSimulator) -> None:
    """The rest is pending, and the command to resume is shown."""
    serve(small_fleet(30, 1))
    result = cli("disassociate", "fleet.csv", "--yes", "--rate", 20, "--deadline", "300ms")
    assert result.code == 10
    assert "stopped: deadline reached" in result.out
    assert "pending" in result.out
    assert "asyncgg resume asyncgg-" in result.out


def test_unexpected_exception_exits_1(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with type and message; only --debug shows a traceback."""
    serve()

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("such a pity")

    monkeypatch.setattr("asyncgg.cli.context.CommandContext.resolve_endpoint", broken)
    result = cli("disassociate", "fleet.csv", "--yes")
    assert result.code == 1
    assert result.err == (
        "error: ZeroDivisionError: such a pity; internal error; please report it (pass --debug for a traceback)\n"
    )
    assert "Traceback" in cli("disassociate", "fleet.csv", "--yes", "--debug").err


def test_skip_bad_rows_writes_rejects(cli: CommandRunner, serve: StartSimulator) -> None:
    """--skip-bad-rows runs without them, --rejects lists them."""
    serve()
    text = Path("fleet.csv").read_text(encoding="utf-8") + "core-1,bad thing\ncore-1,thing-1-1\n"
    Path("fleet.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    result = cli("disassociate", "fleet.csv.gz", *RUN_OPTIONS, "--skip-bad-rows", "--rejects", "bad.csv", "--json")
    assert result.code == 0
    assert result.json["things"] == {
        "total": 12,
        "disassociated": 12,
        "failed": 0,
        "pending": 0,
        "rejected": 1,
        "duplicates": 1,
        "protected": 0,
        "header_rows": 0,
        "already": 0,
    }
    assert "core-1,bad thing" in Path("bad.csv").read_text(encoding="utf-8")
