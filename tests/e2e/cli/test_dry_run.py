"""Tests of dry runs in a folder that cannot be written to; a process, because file permissions do not bind root."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner, isolated_environment
from tests.support.programs import run_asyncgg


@pytest.mark.parametrize(
    ("command", "things"),
    [
        (("disassociate", "fleet.csv"), 12),
        (("disassociate", "--core", "core-1"), 4),
        (("disassociate", "--things", "list.txt"), 1),
        (("disassociate", "--things", "list.txt", "--inventory", "fleet.db"), 1),
        (("undo", "run.journal", "--assume-associated"), 4),
    ],
    ids=["manifest", "core", "things", "inventory", "undo"],
)
def test_dry_run_needs_no_writable_folder(
    command: tuple[str, ...],
    things: int,
    cli: CommandRunner,
    serve: StartSimulator,
    tmp_path: Path,
) -> None:
    """The plan is made in a temporary folder, which is removed; a scan for it is not kept."""
    simulator = serve()
    folder, temporary = tmp_path / "folder", tmp_path / "temporary"
    for path in (folder, temporary):
        path.mkdir()
    Path("fleet.csv").rename(folder / "fleet.csv")
    (folder / "list.txt").write_text("thing-2-3\n", encoding="utf-8")
    assert cli("inventory", "--out", folder / "fleet.db", "--rate", 500, "--quiet").code == 0
    if command[0] == "undo":
        options = ("--yes", "--quiet", "--rate", 500, "--journal", folder / "run.journal")
        assert cli("disassociate", "--core", "core-1", "--inventory", folder / "fleet.db", *options).code == 0
    sent = dict(simulator.service.counters.requests)
    before = sorted(folder.iterdir())
    folder.chmod(0o555)
    env = isolated_environment(AWS_ENDPOINT_URL=simulator.url, TMPDIR=str(temporary))
    result = run_asyncgg(*command, "--dry-run", "--json", "--rate", "500", home=folder, env=env)
    folder.chmod(0o755)
    assert result.code == 0, result.describe()
    assert result.summary["things"]["total"] == things
    assert "dry run: nothing was sent" in result.err
    assert "--inventory" not in result.err
    assert sorted(folder.iterdir()) == before
    assert not list(temporary.iterdir())
    assert {name for name, count in simulator.service.counters.requests.items() if count != sent.get(name, 0)} <= {
        "ListCoreDevices",
        "ListClientDevicesAssociatedWithCoreDevice",
    }


def test_dry_run_refuses_a_journal_that_exists(cli: CommandRunner, serve: StartSimulator) -> None:
    """The run after the dry run would be refused as well."""
    serve()
    Path("run.journal").touch()
    result = cli("disassociate", "fleet.csv", "--dry-run", "--journal", "run.journal")
    assert result.code == 2
    assert "run.journal already exists" in result.err
