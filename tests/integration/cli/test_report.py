"""`report` and `status` of a journal that nobody runs."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

from asyncgg.journal import JournalReader
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner


@pytest.fixture
def partial(cli: CommandRunner, serve: StartSimulator) -> str:
    """A journal of 12 things done and 2 failed."""
    serve()
    with Path("fleet.csv").open("a", encoding="utf-8") as file:
        file.write("core-1,ghost-1\ncore-2,ghost-2\n")
    assert cli("disassociate", "fleet.csv", "--yes", "--quiet", "--rate", 500, "--journal", "run.journal").code == 3
    return "run.journal"


def test_the_list_of_failures_is_a_manifest(cli: CommandRunner, partial: str) -> None:
    """--failures has the failed things and why, in a CSV that `plan` takes as it is."""
    ended = cli("report", partial, "--failures", "failures.csv")
    assert ended.code == 0
    assert ended.err == "failures.csv: 2 failed things\n"
    with Path("failures.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert [(row["core"], row["thing"], row["outcome"]) for row in listed] == [
        ("core-1", "ghost-1", "failed"),
        ("core-2", "ghost-2", "failed"),
    ]
    assert {row["code"] for row in listed} == {"ResourceNotFoundException"}
    assert all(row["at"].endswith("Z") and row["request_id"] and row["attempts"] == "1" for row in listed)
    assert cli("plan", "failures.csv", "--json").json["things"]["total"] == 2


def test_the_list_of_outcomes_has_every_thing(cli: CommandRunner, partial: str) -> None:
    """--outcomes in JSONL, compressed by its ending, has each thing once."""
    assert cli("report", partial, "--outcomes", "all.jsonl.gz", "--json").json["state"] == "partial"
    with gzip.open("all.jsonl.gz", "rt", encoding="utf-8") as file:
        listed = [json.loads(line) for line in file]
    assert len({(row["core"], row["thing"]) for row in listed}) == len(listed) == 14
    assert sum(row["outcome"] == "disassociated" for row in listed) == 12


def test_the_page_is_complete_in_itself(cli: CommandRunner, partial: str) -> None:
    """--html is one page that loads nothing, with the figures and the failures."""
    assert cli("report", partial, "--html", "report.html").code == 0
    page = Path("report.html").read_text(encoding="utf-8")
    assert "ghost-1" in page
    assert "ResourceNotFoundException" in page
    assert "<script" not in page
    assert "src=" not in page
    assert "href=" not in page


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--failures", "f.txt"], "f.txt: unknown suffix"),
        (["--html", "run.journal"], "run.journal: would overwrite the journal"),
        (["--html", "link"], "link: would overwrite the journal"),
        (["--html", "run.journal.lock"], "would overwrite the journal"),
        (["--html", "."], ". is a directory"),
        (["--html", "no/page.html"], "no/page.html: cannot write the file: No such file or directory"),
        (["--failures", "a.csv", "--outcomes", "a.csv"], "two output files have the same path"),
    ],
)
def test_files_that_cannot_be_written_are_2(
    cli: CommandRunner, partial: str, options: list[str], sentence: str
) -> None:
    """A wrong file is refused in one sentence; the journal stays as it is and no half file is left."""
    Path("link").symlink_to(partial)
    before = Path(partial).read_bytes()
    ended = cli("report", partial, *options)
    assert ended.code == 2
    assert sentence in ended.err
    assert Path(partial).read_bytes() == before
    assert not list(Path().glob("*.part"))


def test_status_of_a_finished_run(cli: CommandRunner, partial: str) -> None:
    """`status` shows the counts and what to do next, and exits 0 although things failed; --watch ends at once."""
    for options in ([], ["--watch"]):
        ended = cli("status", partial, *options)
        assert ended.code == 0
        assert "12 of 14 disassociated, 2 failed" in ended.out
        assert "asyncgg retry run.journal" in ended.out
        assert ended.err == ""


def test_status_as_json(cli: CommandRunner, partial: str) -> None:
    """--json has the summary's fields and those of the moment."""
    status = cli("status", partial, "--json").json
    assert status["schema"] == "asyncgg.summary/1"
    assert status["things"]["failed"] == 2
    assert status["running"] is False
    assert status["requests_left"] == 0
    assert "exit" not in status


def test_status_of_a_stopped_run_says_how_long_the_rest_takes(cli: CommandRunner, serve: StartSimulator) -> None:
    """Requests left and the time they need at the run's own rate; the reason why it stopped."""
    serve()
    cli(
        "disassociate",
        "fleet.csv",
        "--yes",
        "--rate",
        1,
        "--burst",
        1,
        "--deadline",
        "300ms",
        "--journal",
        "run.journal",
    )
    ended = cli("status", "run.journal")
    assert "stopped at the deadline: deadline reached" in ended.out
    assert "at least 2 requests, 2.0 s needed at 1.0 requests/s" in ended.out
    assert "asyncgg resume run.journal" in ended.out


def test_watching_ends_with_the_run(cli: CommandRunner, partial: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """--watch writes a line while the run is going, and the status once it is over."""
    real = JournalReader.is_running
    going = [True, True, True, True]
    monkeypatch.setattr(JournalReader, "is_running", lambda self: going.pop() if going else real(self))
    slept: list[float] = []
    monkeypatch.setattr("asyncgg.cli.commands.status.time.sleep", slept.append)
    ended = cli("status", partial, "--watch")
    assert ended.code == 0
    assert slept
    assert ended.err.count("14/14 things, 2 failed") == len(slept)
    assert "asyncgg retry run.journal" in ended.out
