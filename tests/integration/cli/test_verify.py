"""Tests of `asyncgg verify`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import asyncgg
from asyncgg.journal import JournalWriter
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner

RUN_OPTIONS = ("--rate", "500", "--yes", "--quiet", "--json")
VERIFY_OPTIONS = ("--rate", "500")


def _run_first(cli: CommandRunner, *options: object) -> None:
    assert cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--journal", "run.journal", *options).code in {0, 3}


def test_verify_before_and_after_undo(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """disassociate, verify, undo, verify: each step agrees with its journal."""
    simulator = serve()
    before = {core: dict(things) for core, things in simulator.service.fleet.things.items()}
    _run_first(cli)
    verified = cli("verify", "run.journal", *VERIFY_OPTIONS, "--json")
    assert verified.code == 0, verified.err
    document = verified.json
    assert document["things"] == {
        "checked": 12,
        "confirmed": 12,
        "still_associated": 0,
        "reassociated": 0,
        "unchecked": 0,
    }
    assert document["requests"]["sent"] == 3
    assert "verified: the fleet matches the journal" in verified.err
    assert json.loads((tmp_path / "run.journal.verified.json").read_text()) == document
    assert cli("undo", "run.journal", *RUN_OPTIONS, "--assume-associated", "--journal", "undo.journal").code == 0
    there = cli("verify", "undo.journal", *VERIFY_OPTIONS)
    assert there.code == 0, there.err
    assert "verified: the fleet matches the journal" in there.out
    assert {core: set(things) for core, things in simulator.service.fleet.things.items()} == {
        core: set(things) for core, things in before.items()
    }
    mismatched = cli("verify", "run.journal", *VERIFY_OPTIONS, "--failures", "left.csv")
    assert mismatched.code == 3
    assert "12 still associated (12 associated again)" in mismatched.out
    assert cli("disassociate", "left.csv", *RUN_OPTIONS).code == 0  # the list is a manifest


def test_report_shows_verification_until_retry(cli: CommandRunner, serve: StartSimulator) -> None:
    """Text, JSON and HTML show the verification until more requests are sent."""
    simulator = serve(fault=("deny@core-2",))
    _run_first(cli)
    assert "verified" not in cli("report", "run.journal", "--json").json
    assert cli("verify", "run.journal", *VERIFY_OPTIONS, "--quiet").code == 0
    report = cli("report", "run.journal", "--html", "r.html")
    assert "  verified   " in report.out
    assert ": 8 of 8 confirmed" in report.out
    assert re.search(r'class="badge good">\s*Verified\s*<', Path("r.html").read_text())
    assert cli("report", "run.journal", "--json").json["verified"]["things"]["confirmed"] == 8
    simulator.service.set_faults(())
    assert cli("retry", "run.journal", *RUN_OPTIONS).code == 0
    assert "verified" not in cli("report", "run.journal", "--json").json


def test_verify_denied_core_exits_4(cli: CommandRunner, serve: StartSimulator) -> None:
    """Things of cores that cannot be listed are unchecked; if all are denied: exit 5."""
    simulator = serve()
    _run_first(cli)
    simulator.service.set_faults(["deny@core-2"])
    result = cli("verify", "run.journal", *VERIFY_OPTIONS, "--json")
    assert (result.code, result.json["things"]["unchecked"], result.json["cores"]["denied"]) == (4, 4, 1)
    assert "partially verified" in result.err
    simulator.service.set_faults(["deny-all"])
    denied = cli("verify", "run.journal", *VERIFY_OPTIONS)
    assert denied.code == 5
    assert "grant greengrass:ListClientDevicesAssociatedWithCoreDevice" in denied.out


def test_verify_out_keeps_the_snapshot(cli: CommandRunner, serve: StartSimulator) -> None:
    """--out writes a snapshot for other commands, which is not overwritten."""
    serve()
    _run_first(cli)
    assert cli("verify", "run.journal", *VERIFY_OPTIONS, "--quiet", "--out", "after.db").code == 0
    assert cli("where", "thing-1-1", "--inventory", "after.db").code == 3
    second = cli("verify", "run.journal", *VERIFY_OPTIONS, "--out", "after.db")
    assert (second.code, second.out) == (2, "")
    assert "already contains a complete scan" in second.err


def test_verify_unwritable_outputs_keep_the_result(
    cli: CommandRunner, serve: StartSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is written together with the errors of the other outputs."""
    serve()
    _run_first(cli)
    (tmp_path / "run.journal.verified.json").mkdir()
    result = cli("verify", "run.journal", *VERIFY_OPTIONS, "--json", "--failures", "none/left.csv")
    assert (result.code, result.json["things"]["confirmed"]) == (0, 12)
    assert [error.partition(": No")[0] for error in result.json["write_errors"]] == [
        "none/left.csv: cannot write the file",
        "run.journal.verified.json is a directory; give a file name",
    ]
    assert "  not saved  none/left.csv: cannot write the file: No such file or directory\n" in result.err
    assert cli("verify", "run.journal", *VERIFY_OPTIONS, "--failures", "a.csv", "--out", "a.csv").code == 2
    assert not (tmp_path / "a.csv").exists()


def test_verify_and_undo_in_other_region_exit_2(
    cli: CommandRunner, serve: StartSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is only verified and undone in its own Region."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    simulator = serve()
    _run_first(cli)
    sent = simulator.service.counters.requests.total()
    for command in (("verify", "run.journal"), ("undo", "run.journal", "--assume-associated", "--yes")):
        result = cli(*command, "--region", "us-east-1")
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert "the run was started in Region eu-west-1, not us-east-1" in result.err
    assert simulator.service.counters.requests.total() == sent


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--wait", "soon"), "--wait: 'soon' must be a duration"),
        (("--failures", "left.txt"), "use the suffix .csv"),
        (("--failures", "."), "use the suffix .csv"),
        (("--rate", "0"), "--rate"),
    ],
)
def test_verify_invalid_options_exit_2(
    cli: CommandRunner, serve: StartSimulator, options: tuple[str, ...], words: str
) -> None:
    """One error line, and nothing is listed."""
    simulator = serve()
    _run_first(cli)
    sent = simulator.service.counters.requests.total()
    result = cli("verify", "run.journal", *options)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert words in result.err
    assert simulator.service.counters.requests.total() == sent


def test_verify_unusable_journal_exits_2(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """Other files, and a journal in use, are refused."""
    serve()
    _run_first(cli)
    (tmp_path / "text").write_text("no journal")
    for name, message in (("none", "no such file"), ("text", "not an asyncgg journal")):
        result = cli("verify", name)
        assert (result.code, message in result.err) == (2, True)
    journal = JournalWriter(tmp_path / "run.journal", threaded=False)
    try:
        result = cli("verify", "run.journal")
        assert (result.code, "in use by another process" in result.err) == (2, True)
    finally:
        journal.close()


async def test_library_verify_returns_the_same(serve: StartSimulator) -> None:
    """`asyncgg.verify` returns the result as a value."""
    options = {"endpoint_url": serve().url, "region": "eu-west-1", "rate": 500}
    summary = await asyncgg.disassociate([("core-1", "thing-1-1")], journal="run.journal", **options)
    done = await asyncgg.verify("run.journal", wait=1.0)
    assert (done.exit_code, done.run) == (0, summary.run)
