"""Tests of `asyncgg report` and `asyncgg status`."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner


@pytest.fixture
def partial(cli: CommandRunner, serve: StartSimulator) -> str:
    """A journal with 12 disassociated and 2 failed things, and one that was absent."""
    serve(fault=("entry:DeviceBusy@ghost-[12]",))
    with Path("fleet.csv").open("a", encoding="utf-8") as file:
        file.write("core-1,ghost-1\ncore-2,ghost-2\ncore-3,ghost-3\n")
    options = ("--yes", "--quiet", "--rate", 500, "--max-attempts-unknown", 1, "--journal", "run.journal")
    assert cli("disassociate", "fleet.csv", *options).code == 3
    return "run.journal"


def test_report_failures_can_be_planned(cli: CommandRunner, partial: str) -> None:
    """--failures writes the failed things with their codes, as a manifest."""
    result = cli("report", partial, "--failures", "failures.csv")
    assert result.code == 0
    assert result.err == "failures.csv: 2 failed things\n"
    with Path("failures.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert [(row["core"], row["thing"], row["outcome"]) for row in listed] == [
        ("core-1", "ghost-1", "failed"),
        ("core-2", "ghost-2", "failed"),
    ]
    assert {row["code"] for row in listed} == {"DeviceBusy"}
    assert all(row["at"].endswith("Z") and row["request_id"] and row["attempts"] == "1" for row in listed)
    assert cli("plan", "failures.csv", "--json").json["things"]["total"] == 2


def test_report_outcomes_lists_every_thing(cli: CommandRunner, partial: str) -> None:
    """--outcomes writes each thing once, as compressed JSONL."""
    assert cli("report", partial, "--outcomes", "all.jsonl.gz", "--json").json["state"] == "partial"
    with gzip.open("all.jsonl.gz", "rt", encoding="utf-8") as file:
        listed = [json.loads(line) for line in file]
    assert len({(row["core"], row["thing"]) for row in listed}) == len(listed) == 15
    assert Counter(row["outcome"] for row in listed) == {"disassociated": 12, "failed": 2, "already": 1}
    assert {row["code"] for row in listed if row["outcome"] == "already"} == {"ResourceNotFoundException"}


def test_report_html_loads_nothing(cli: CommandRunner, partial: str) -> None:
    """--html writes one page with the failures and the next commands, without external resources."""
    assert cli("report", partial, "--html", "report.html").code == 0
    page = Path("report.html").read_text(encoding="utf-8")
    assert "ghost-1" in page
    assert "DeviceBusy" in page
    assert "<pre>asyncgg report run.journal --failures failures.csv\nasyncgg retry run.journal</pre>" in page
    assert page.count("<script") == 1
    assert page.count("<svg") == 4
    assert "src=" not in page
    assert {link[:1] for link in re.findall(r'href="([^"]*)', page)} == {"#"}
    assert "max-attempts-unknown" in page


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--failures", "f.txt"], "f.txt: unknown suffix"),
        (["--html", "run.journal"], "run.journal: would overwrite the journal"),
        (["--html", "link"], "link: would overwrite the journal"),
        (["--html", "run.journal.lock"], "would overwrite the journal"),
        (["--html", "."], ". is a directory"),
        (["--html", "no/page.html"], "no/page.html: cannot write the file: No such file or directory"),
        (["--failures", "a.csv", "--outcomes", "a.csv"], "a.csv: --failures and --outcomes name the same file"),
    ],
)
def test_report_unusable_output_exits_2(cli: CommandRunner, partial: str, options: list[str], sentence: str) -> None:
    """One error; the journal is unchanged and no partial file is left."""
    Path("link").symlink_to(partial)
    before = Path(partial).read_bytes()
    result = cli("report", partial, *options)
    assert result.code == 2
    assert sentence in result.err
    assert Path(partial).read_bytes() == before
    assert not list(Path().glob("*.part"))


def test_status_finished_run_exits_0(cli: CommandRunner, partial: str) -> None:
    """The counts and the next commands."""
    result = cli("status", partial)
    assert result.code == 0
    assert "12 of 15 disassociated, 1 already, 2 failed" in result.out
    assert "asyncgg retry run.journal" in result.out
    assert result.err == ""


def test_status_json_has_summary_and_rate(cli: CommandRunner, partial: str) -> None:
    """--json has the fields of the summary and the current ones."""
    status = cli("status", partial, "--json").json
    assert status["schema"] == "asyncgg.summary/1"
    assert (status["things"]["failed"], status["things"]["already"]) == (2, 1)
    assert status["next"] == cli("report", partial, "--json").json["next"]
    assert status["running"] is False
    assert status["requests_left"] == 0
    assert "exit" not in status


def test_status_stopped_run_shows_time_needed(cli: CommandRunner, serve: StartSimulator) -> None:
    """The reason, the requests left and their time at the rate of the run."""
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
    result = cli("status", "run.journal")
    assert "stopped: deadline reached" in result.out
    assert "at least 2 requests, 2.0 s needed at 1.0 requests/s" in result.out
    assert "asyncgg resume run.journal" in result.out


def test_report_markdown_has_verdict_and_codes(cli: CommandRunner, partial: str) -> None:
    """--markdown writes the verdict, the account, the codes and the next commands."""
    assert cli("report", partial, "--markdown", "ticket.md").code == 0
    text = Path("ticket.md").read_text(encoding="utf-8")
    assert text.startswith("## Disassociation of client devices: Completed with failures\n")
    assert "12 of 15 things disassociated, 1 already before, 2 failed" in text
    assert "| DeviceBusy | 2 | 2 |" in text
    assert "asyncgg retry run.journal" in text


def test_report_html_links_the_lists_of_the_command(cli: CommandRunner, partial: str) -> None:
    """A list written by the same command is linked by its relative path."""
    Path("out").mkdir()
    assert cli("report", partial, "--outcomes", "all things.csv", "--html", "out/report.html").code == 0
    assert '<a href="../all%20things.csv">../all things.csv</a>' in Path("out/report.html").read_text(encoding="utf-8")


def test_report_shows_every_start(cli: CommandRunner, partial: str) -> None:
    """The page has a row for the run and for its retry, with the end of each."""
    cli("retry", partial, "--yes", "--quiet")
    cli("report", partial, "--html", "report.html")
    page = Path("report.html").read_text(encoding="utf-8")
    starts = page[page.index("<h2>Starts</h2>") :]
    assert re.findall(r"<tr><td>(\w+)</td>", starts)[:2] == ["run", "retry"]
    assert starts.count("<td>partial</td>") == 2
