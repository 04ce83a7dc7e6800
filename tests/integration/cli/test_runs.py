"""Tests of `asyncgg runs`."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from asyncgg.journal import write_meta
from asyncgg.models import RunState
from tests.support.command_line import CommandRunner
from tests.support.journal import create_journal
from tests.unit.decommission.test_page import load_page


def create_run(path: Path, age: float, state: RunState) -> None:
    """A journal that is `age` seconds old."""
    path.parent.mkdir(exist_ok=True)
    create_journal(path, meta={"run": path.stem, "created": f"{time.time() - age:.3f}", "source": "fleet.csv"})
    asyncio.run(write_meta(path, state=state, seconds=125.0))


def test_runs_lists_the_newest_first(cli: CommandRunner, tmp_path: Path) -> None:
    """With age, verdict, size and duration; runs of a state folder too; anything else is counted or ignored."""
    create_run(tmp_path / "old.journal", 90_000, RunState.COMPLETE)
    create_run(tmp_path / "state" / "run.db", 50, RunState.ABORTED)
    Path("broken.journal").write_text("no database", encoding="utf-8")
    Path("fleet.csv").write_text("core,thing", encoding="utf-8")
    os.mkfifo("pipe.journal")
    result = cli("runs")
    assert result.code == 0
    assert result.out.splitlines()[1:] == [
        "  50s  aborted        1  2m05s  state/run.db",
        "1d01h  complete       1  2m05s  old.journal",
        "skipped 1 file that cannot be used; --json says why",
    ]


def test_runs_lists_a_decommission_by_its_devices(cli: CommandRunner, tmp_path: Path) -> None:
    """Devices that were refused count as failed; a damaged journal is skipped."""
    load_page(tmp_path / "model-7.journal")
    data = (tmp_path / "model-7.journal").read_bytes()
    (tmp_path / "damaged.journal").write_bytes(data[:2000])
    document = cli("runs", "--json").json
    (listed,) = document["runs"]
    assert (listed["source"], listed["state"]) == ("decommission: quarantine", "interrupted")
    assert (listed["things"], listed["disassociated"], listed["failed"], listed["pending"]) == (4, 1, 2, 1)
    assert len(document["skipped"]) == 1


def test_runs_json_has_every_run(cli: CommandRunner, tmp_path: Path) -> None:
    """The schema, the counts, and why a file was skipped."""
    create_run(tmp_path / "state" / "a.journal", 3.0, RunState.INTERRUPTED)
    (tmp_path / "state" / "b.journal").touch()
    document = cli("runs", "state", "--json").json
    assert document["schema"] == "asyncgg.runs/1"
    (run,) = document["runs"]
    assert run["journal"] == "state/a.journal"
    assert (run["state"], run["things"], run["pending"], run["seconds"]) == ("interrupted", 1, 1, 125.0)
    assert run["source"] == "fleet.csv"
    assert "state/b.journal is not an asyncgg journal" in document["skipped"][0]


def test_runs_without_any_says_so(cli: CommandRunner, tmp_path: Path) -> None:
    """An empty folder is no error; a missing one is."""
    assert cli("runs", tmp_path).out == f"no runs in {tmp_path}\n"
    result = cli("runs", "none")
    assert result.code == 2
    assert "none: cannot read the folder: No such file or directory" in result.err
