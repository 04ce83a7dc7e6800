"""Tests of the commands that show a campaign: report, runs and watch."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from asyncgg.cli import main
from asyncgg.report.svg import is_available
from tests.integration.cli.conftest import StartTargets
from tests.support.command_line import CommandRunner

RUN = ("fleet", "disassociate", "fleet.csv", "--targets", "targets.toml", "--campaign", "camp", "--yes")


def test_campaign_is_shown_as_page_list_and_display(
    cli: CommandRunner, targets: StartTargets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One campaign of three targets, one with a denied core and one with expired credentials."""
    simulators = targets({}, {"fault": ("deny@core-2",)}, {"fault": ("expired-token",)})
    run = cli(*RUN)
    assert run.code == 5
    assert "\nnext:\n  # access denied: add to the IAM policy" in run.out
    assert cli("report", "camp", "--html", "page.html", "--markdown", "page.md").code == 0
    page, text = Path("page.html").read_text(), Path("page.md").read_text()
    assert "1 of 3 targets complete" in page
    names = re.findall(r'<th scope="row" class="name" data-value="(\w+)"', page)
    assert names == ["t2", "t3", "t1"], "the worst target first"
    assert 'href="camp/t2.journal"' in page
    assert "asyncgg resume camp/t3.journal" in page
    assert ("<svg" in page) is is_available()
    assert "| t2 | 222222222222 |" in text
    assert re.search(r"\| AccessDeniedException \| \d+ \| 1 \| t2 \(\d+\) \|", text)
    for name in ("t1.journal", "campaign.toml"):
        assert "would overwrite" in cli("report", "camp", "--html", f"camp/{name}").err

    (listed,) = cli("runs", "--json").json["runs"]
    assert (listed["journal"], listed["source"], listed["state"]) == ("camp", "campaign of 3 targets", "aborted")
    assert len(cli("runs", "camp", "--json").json["runs"]) == 3

    def finish(_seconds: float) -> None:
        for simulator in simulators:
            simulator.service.set_faults(())
        with redirect_stdout(io.StringIO()):
            assert [main([command, "camp", "--yes", "--quiet"]) for command in ("resume", "retry")] == [3, 0]

    monkeypatch.setattr("asyncgg.cli.campaign_watch.time.sleep", finish)
    lines = cli("watch", "camp").out.splitlines()
    assert lines[0].startswith("0 of 3 targets running, ")
    assert lines[0].endswith(" failed, waiting for resume or retry")
    assert lines[1] == "complete: 3 of 3 targets complete"
