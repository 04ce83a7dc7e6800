"""What commands write on a terminal of 80 columns."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from asyncgg.cli import main
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import small_fleet

LONG = "core-of-the-building-with-a-rather-long-name-in-the-north-wing-1"
COMMANDS = {
    "plan": "plan fleet.csv",
    "inventory": "inventory --out fleet.db --rate 500",
    "plan of missing things": "plan --things list.txt --inventory fleet.db --allow-incomplete",
    "run": "disassociate fleet.csv --yes --rate 500 --journal run.journal",
    "status": "status run.journal",
    "report": "report run.journal",
    "runs": "runs",
    "verify": "verify run.journal --rate 500",
    "undo error": "undo run.journal --yes",
    "where": f"where thing-1-1 {LONG} --inventory fleet.db",
    "missing file": "disassociate no/such/folder/with/a/long/name/and/another/one/fleet-of-the-building.csv --yes",
    "invalid setting": "disassociate fleet.csv --yes --rate fast",
    "no connection": "disassociate fleet.csv --yes --deadline 500ms --endpoint-url http://127.0.0.1:9",
}
"""Commands in the order of a session; each may use what an earlier one left."""


class NarrowTerminal(io.StringIO):
    """A terminal of the width that COLUMNS says."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Always a terminal."""
        return True


def test_output_fits_80_columns_and_breaks_no_name(serve: StartSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans, progress, summaries, lists and errors have no longer line, except a command to copy, and keep names."""
    fleet = small_fleet(3, 4)
    serve(fleet, fault=("deny@core-2",))
    with Path("fleet.csv").open("a", encoding="utf-8") as file:
        file.write(f"{LONG},thing-1\n")
    Path("list.txt").write_text("".join(f"thing-that-does-not-exist-{n:03}\n" for n in range(40)), encoding="utf-8")
    for name, value in {"COLUMNS": "80", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    shown: dict[str, str] = {}
    for title, command in COMMANDS.items():
        stdout, stderr = NarrowTerminal(), NarrowTerminal()
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", stderr)
        main(command.split())
        shown[title] = stdout.getvalue() + stderr.getvalue()
    too_long = {
        (title, line)
        for title, text in shown.items()
        for line in text.splitlines()
        if len(line) > 80 and not line.startswith("  asyncgg ")
    }
    assert too_long == set()
    assert all(text.strip() for text in shown.values())
    assert LONG in shown["run"] + shown["where"]
    assert "thing-that-does-not-exist-000, thing-that-does-not-exist-001" in " ".join(
        shown["plan of missing things"].split()
    )
    assert "cannot connect to 127.0.0.1:9: connection refused" in " ".join(shown["no connection"].split())
