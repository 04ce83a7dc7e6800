"""Tests of lists and manifests that repeat their header, as files that were put together do."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner

RUN = ("--yes", "--json", "--rate", "500", "--journal", "run.journal")
MEMBERS = ("core,thing\ncore-1,thing-1-1\n", "core,thing\ncore-2,thing-2-1\n")


@pytest.mark.parametrize("compress", [False, True])
def test_manifest_put_together_is_sent_without_its_headers(
    cli: CommandRunner, serve: StartSimulator, compress: bool
) -> None:
    """The repeated header is not sent; plan, summary, status and page count it."""
    simulator = serve()
    name = "all.csv.gz" if compress else "all.csv"
    data = [member.encode() for member in MEMBERS]
    Path(name).write_bytes(b"".join(map(gzip.compress, data) if compress else data))
    plan = cli("plan", name, "--json").json
    assert plan["things"] == plan["things"] | {"total": 2, "rejected": 0, "header_rows": 1}
    result = cli("disassociate", name, *RUN)
    assert result.code == 0, result.err
    assert result.json["things"] == result.json["things"] | {"total": 2, "disassociated": 2, "header_rows": 1}
    assert "  excluded   1 repeated header\n" in result.err
    assert simulator.service.counters.carried.keys() == {"core-1", "core-2"}
    report = cli("report", "run.journal", "--json", "--html", "page.html")
    assert report.json["things"]["header_rows"] == 1
    assert re.search(r"<td[^>]*>1</td>\s*<td>repeated headers</td>", Path("page.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("option", "names"), [("--things", "thing\nthing-1-1\nthing\n"), ("--cores", "core\ncore-1\nCore\n")]
)
def test_list_put_together_is_looked_up_without_its_header(
    cli: CommandRunner, serve: StartSimulator, option: str, names: str
) -> None:
    """The column name is not looked up, so nothing is missing."""
    serve()
    Path("list.txt").write_text(names, encoding="utf-8")
    result = cli("disassociate", option, "list.txt", *RUN)
    assert result.code == 0, result.err
    assert result.json["things"]["header_rows"] == 1
    assert "1 repeated header" in result.err
    assert "on no core" not in result.err
    assert "not found" not in result.err
    Path("only.csv").write_text("core,thing\ncore-1,thing-1-1\ncore,thing\n", encoding="utf-8")
    undone = cli("undo", "run.journal", "--only", "only.csv", "--yes", "--json", "--rate", "500")
    assert undone.json["things"] == undone.json["things"] | {"associated": 1, "header_rows": 1}


def test_where_reports_a_repeated_header(cli: CommandRunner, serve: StartSimulator) -> None:
    """`where` looks up the names without it, and writes how many it left out."""
    serve()
    Path("list.txt").write_text("thing\nthing-1-1\nthing\n", encoding="utf-8")
    result = cli("where", "--things", "list.txt", "--rate", "500")
    assert result.code == 0, result.out
    assert "list.txt: left out 1 repeated column name\n" in result.err


def test_misplaced_header_stops_the_run(cli: CommandRunner, serve: StartSimulator) -> None:
    """After a header with other columns the rows would be swapped: nothing is sent."""
    simulator = serve()
    Path("all.csv").write_text(MEMBERS[0] + "thing,core\nthing-2-1,core-2\n", encoding="utf-8")
    result = cli("disassociate", "all.csv", *RUN)
    assert result.code == 2
    assert "all.csv:3: is a header with other columns than the first one" in result.err
    assert simulator.service.counters.requests.total() == 0
