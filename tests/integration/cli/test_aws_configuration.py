"""Tests of commands whose AWS configuration is wrong, or whose account is unknown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asyncgg.simulator import FleetSpec
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner
from tests.support.runs import create_journal

COMMANDS = [
    "plan fleet.csv",
    "disassociate fleet.csv --yes",
    "disassociate fleet.csv --dry-run",
    "disassociate --things things.txt --yes",
    "inventory --out fleet.db",
    "where thing",
    "cleanup policy.toml",
    "tune --live --yes",
    "resume run.journal --yes",
    "verify run.journal",
    "undo run.journal --assume-associated --yes",
]
PROBLEMS = {
    "AWS_REGION=eu-west-9": "unknown AWS Region 'eu-west-9' (AWS_REGION); did you mean eu-west-1?",
    "ASYNCGG_REGION=eu-wset-1": "unknown AWS Region 'eu-wset-1'; did you mean eu-west-1?",
    "AWS_DEFAULTS_MODE=fast": "invalid AWS setting AWS_DEFAULTS_MODE: 'fast'; allowed: legacy, auto, standard",
    "HTTPS_PROXY=socks5://127.0.0.1:1": "HTTPS_PROXY: proxies of type socks5 are not supported",
}
WITH_REGION_OF_THE_RUN = ("resume", "verify", "undo")


def file_names() -> list[str]:
    """The files in the current folder."""
    return sorted(path.name for path in Path().iterdir())


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the commands read, and the names of these files. Requests to AWS would go to a dead proxy."""
    Path("fleet.csv").write_text("core,thing\na,b\n", encoding="utf-8")
    Path("things.txt").write_text("b\n", encoding="utf-8")
    Path("policy.toml").write_text("[guards]\nmax-things = 5\n[[rule]]\nname = 'gone-*'\n", encoding="utf-8")
    create_journal(
        Path("run.journal"), [("a", "b")], {"region": "eu-west-1", "endpoint": "https://x", "custom": "false"}
    )
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    return file_names()


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_aws_configuration_exits_2_and_creates_nothing(
    cli: CommandRunner, monkeypatch: pytest.MonkeyPatch, files: list[str], command: str
) -> None:
    """Each command names the wrong value before it creates a file or sends a request."""
    for setting, message in PROBLEMS.items():
        if "REGION" in setting and command.startswith(WITH_REGION_OF_THE_RUN):
            continue  # these take the Region from the journal
        with monkeypatch.context() as context:
            context.setenv(*setting.split("=", 1))
            result = cli(*command.split())
        assert (result.code, result.out) == (2, ""), setting
        assert message in result.err
        assert result.err.count("\n") <= 2
        assert file_names() == files


def test_resume_of_a_run_in_an_unknown_region_exits_2(cli: CommandRunner, files: list[str]) -> None:
    """A Region in a journal is checked like any other, and allowed by the same option."""
    meta = {"region": "eu-west-9", "endpoint": "https://x", "custom": "false"}
    create_journal(Path("other.journal"), [("a", "b")], meta)
    assert "did you mean eu-west-1?" in cli("resume", "other.journal", "--yes").err
    assert "the AWS account is unknown" in cli("resume", "other.journal", "--yes", "--allow-unknown-region").err


@pytest.mark.parametrize("command", ["disassociate fleet.csv --yes", "inventory --out fleet.db", "cleanup policy.toml"])
def test_unknown_account_exits_4_and_creates_nothing(
    cli: CommandRunner, monkeypatch: pytest.MonkeyPatch, files: list[str], command: str
) -> None:
    """Without an answer of STS nothing is sent to AWS."""
    monkeypatch.setattr("asyncgg.transport.sts._ATTEMPTS", 1)
    result = cli(*command.split())
    assert result.code == 4
    assert "the AWS account is unknown: STS GetCallerIdentity failed: " in result.err
    assert "nothing was sent\nto continue anyway, pass --allow-unknown-account\n" in result.err
    assert [name for name in file_names() if name != "policy.state"] == files


def test_unknown_account_is_allowed_by_an_option_and_for_plans(
    cli: CommandRunner, monkeypatch: pytest.MonkeyPatch, files: list[str]
) -> None:
    """With --allow-unknown-account requests are sent; a plan only shows that the account is unknown."""
    monkeypatch.setattr("asyncgg.transport.sts._ATTEMPTS", 1)
    for command in ("plan fleet.csv", "disassociate fleet.csv --dry-run"):
        result = cli(*command.split())
        assert result.code == 0
        assert "account    unknown (STS GetCallerIdentity failed: " in result.out + result.err
    options = ("--yes", "--allow-unknown-account", "--deadline", "100ms", "--journal", "j")
    result = cli("disassociate", "fleet.csv", *options)
    assert result.code == 10
    assert "account    unknown (STS GetCallerIdentity failed: " in result.err
    assert Path("j").exists()


def test_custom_endpoint_is_asked_for_the_account(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account of a custom endpoint is shown and recorded; a failure is only reported."""
    simulator = serve(FleetSpec.from_things({"a": ["b", "c"]}))
    assert cli("plan", "fleet.csv", "--json").json["account"] == "123456789012"
    Path("b.csv").write_text("core,thing\na,b\n", encoding="utf-8")
    assert cli("disassociate", "b.csv", "--yes", "--journal", "j").code == 0
    simulator.service.config = replace(simulator.service.config, account="999999999999")
    result = cli("verify", "j")
    assert result.code == 4
    assert "started in account 123456789012" in result.err
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    Path("c.csv").write_text("core,thing\na,c\n", encoding="utf-8")
    result = cli("disassociate", "c.csv", "--yes")
    assert result.code == 0
    assert "account    unknown (STS GetCallerIdentity at http://127.0.0.1:1 failed: " in result.err
