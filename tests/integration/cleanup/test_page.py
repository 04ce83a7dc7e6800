"""The HTML page of a policy run, through `asyncgg report`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asyncgg.run_directory import RunDirectory, list_run_directories
from tests.integration.cleanup.test_cleanup_command import FLEET, POLICY
from tests.integration.cli.conftest import StartSimulator, aws_environment, cli, serve
from tests.support.command_line import CommandRunner

__all__ = ["aws_environment", "cli", "serve"]

pytestmark = pytest.mark.usefixtures("no_fsync")

LIMITS = "[guards]\nmax-things = 10\nmax-percent = 80\ncanary = 1\n"


def _clean_up(cli: CommandRunner, limits: str, expected_code: int) -> RunDirectory:
    Path("nightly.toml").write_text(f"{POLICY}{limits}")
    assert cli("cleanup", "nightly.toml", "--quiet", "--rate", 500).code == expected_code
    return list_run_directories(Path("nightly.state"))[-1]


def _page(cli: CommandRunner, path: Path) -> str:
    assert cli("report", path, "--html", "page.html").code == 0
    return Path("page.html").read_text(encoding="utf-8")


def test_page_has_decisions_limits_canary_run_and_trend(cli: CommandRunner, serve: StartSimulator) -> None:
    """The page of each run shows what the policy decided, how near its limits are, and the runs before it."""
    serve(FLEET)
    first = _clean_up(cli, LIMITS, 0)
    page = _page(cli, first.report)
    assert "3 of 5 examined associations selected; 3 disassociated, 0 failed" in page
    assert '<th scope="row">max-things</th><td class="number">3</td><td class="number">10</td>' in page
    assert 'Canary of 1 thing: <span class="good">verified by listing</span>' in page
    assert "Rules: leftovers." in page
    assert "<h2>Failures by code</h2>" not in page
    assert "<h2>Cores, worst first</h2>" in page
    assert "<h2>Trend</h2>" not in page
    serve(FLEET)
    second = _clean_up(cli, LIMITS.replace("10", "2"), 4)
    page = _page(cli, second.folder)
    assert '<span class="bad">exceeded</span>' in page
    assert "3 things selected; 1 earlier run selected 3 to 3. The limit is 2." in page
    assert page.index(f">{second.name}</th>") < page.index(f">{first.name}</th>")
    assert "<h2>Trend</h2>" not in _page(cli, first.folder)


def test_page_of_other_files_exits_2(cli: CommandRunner, tmp_path: Path) -> None:
    """One error, without --html or with a report that cannot be read; other folders are no journals."""
    folder = tmp_path / "20260131T020000Z"
    folder.mkdir()
    assert cli("report", folder, "--html", "page.html").code == 2
    (folder / "report.json").write_text(json.dumps({"schema": "asyncgg.cleanup/1", "exit": 0, "state": "complete"}))
    assert "requires --html" in cli("report", folder).err
    assert cli("report", folder, "--html", "page.html").code == 0
    (folder / "report.json").write_text("[1]")
    assert "not the report of a policy run" in cli("report", folder, "--html", "page.html").err
