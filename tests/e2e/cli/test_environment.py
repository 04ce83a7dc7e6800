"""Tests of unusual environments: closed terminals, small terminals, other encodings, deleted and read-only folders."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from asyncgg.simulator import FleetSpec, Simulator
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandRunner, isolated_environment, open_terminal, wait_until
from tests.support.programs import Program, run_asyncgg

POLICY = "[[rule]]\nid = 'leftovers'\nname = 'tmp-*'\n[guards]\nmax-percent = 100\n[state]\nresume-unfinished = true\n"
RUN = ("disassociate", "fleet.csv", "--yes", "--journal", "run.journal", "--rate", "500")
AGED_FLEET = FleetSpec.from_things({f"core-{c}": [f"tmp-{c}-{n}" for n in range(3)] for c in range(40)}, 1000.0)


def _write_policy() -> None:
    Path("nightly.toml").write_text(POLICY)


def _request_count(simulator: Simulator) -> int:
    return simulator.service.counters.requests.total()


@pytest.mark.parametrize(
    "command",
    [("inventory", "--out", "fleet.db"), ("cleanup", "nightly.toml")],
    ids=["scan", "cleanup"],
)
def test_closed_terminal_stops_the_command_and_the_same_command_continues(
    command: tuple[str, ...], serve: StartSimulator, cli: CommandRunner
) -> None:
    """SIGHUP: requests in flight end, exit 130; the next start lists no core twice."""
    simulator = serve(AGED_FLEET)
    _write_policy()
    env = isolated_environment(AWS_ENDPOINT_URL=simulator.url)
    with Program(*command, "--rate", "20", "--json", home=Path.cwd(), env=env) as program:
        wait_until(lambda: _request_count(simulator) >= 5)
        program.signal(signal.SIGHUP)
        ended = program.wait()
    assert ended.code == 130, ended.describe()
    assert "Traceback" not in ended.err
    assert _request_count(simulator) < 40
    assert cli(*command, "--rate", 500, "--quiet").code == 0
    listed = Counter(row.core for row in simulator.service.counters.log if "ListClientDevices" in row.operation)
    assert len(listed) == 40
    assert set(listed.values()) == {1}


@pytest.mark.parametrize(("columns", "lines"), [(1, 1), (5, 2), (20, 3)])
def test_tiny_terminal_shows_progress_and_summary(columns: int, lines: int, serve: StartSimulator) -> None:
    """The display of a terminal with a few characters never ends the run."""
    simulator = serve()
    env = isolated_environment(AWS_ENDPOINT_URL=simulator.url, COLUMNS=str(columns), LINES=str(lines))
    with open_terminal(*RUN, cwd=Path(), env=env) as screen:
        assert screen.read_to_end() == 0
    assert "Traceback" not in screen.screen
    assert not any(simulator.service.fleet.things.values())


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "utf-16"},
        {"PYTHONIOENCODING": "cp1252", "TERM": "dumb"},
    ],
    ids=lambda variables: next(iter(variables.items()))[1],
)
def test_other_encodings_show_names_escaped_and_end_as_usual(variables: dict[str, str], serve: StartSimulator) -> None:
    """A file name and a bad row that the encoding lacks never end the command with an error of its own."""
    simulator = serve()
    folder = Path("Geräte-设备")
    folder.mkdir()
    Path("fleet.csv").rename(folder / "fleet.csv")
    env = isolated_environment(AWS_ENDPOINT_URL=simulator.url, **variables)
    arguments = [sys.executable, "-m", "asyncgg", *RUN, "--json", "--journal", str(folder / "run.journal")]
    arguments[arguments.index("fleet.csv")] = str(folder / "fleet.csv")
    ended = subprocess.run(arguments, env=env, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    encoding = variables.get("PYTHONIOENCODING", "ascii")
    assert json.loads(ended.stdout.decode(encoding))["things"]["disassociated"] == 12
    bad = folder / "bad.csv"
    bad.write_text("core,thing\ncore-1,Gerät-设备\n", encoding="utf-8")
    arguments = [sys.executable, "-m", "asyncgg", "plan", str(bad)]
    ended = subprocess.run(arguments, env=env, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 2, ended.stderr
    assert "bad.csv:2" in ended.stderr.decode(encoding)


@pytest.mark.parametrize(
    "arguments",
    [RUN[:2], ("inventory", "--out", "fleet.db"), ("cleanup", "nightly.toml"), ("status", "run.journal")],
    ids=lambda arguments: arguments[0],
)
def test_deleted_working_directory_is_an_error_of_one_line(arguments: tuple[str, ...], serve: StartSimulator) -> None:
    """Exit 2 and nothing sent when the folder of the shell is gone."""
    simulator = serve()
    folder = Path("gone")
    folder.mkdir()
    script = 'cd gone && rmdir ../gone && exec "$@"'
    env = isolated_environment(AWS_ENDPOINT_URL=simulator.url) | {"PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, "-m", "asyncgg", *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith("error: ")
    assert len(ended.stderr.splitlines()) <= 2, ended.stderr
    assert _request_count(simulator) == 0


def test_cleanup_in_a_read_only_folder_names_the_folder(serve: StartSimulator, tmp_path: Path) -> None:
    """A clean-up keeps its decisions in a folder, also those of a dry run: exit 2 before the first request."""
    simulator = serve(AGED_FLEET)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "nightly.toml").write_text(POLICY)
    folder.chmod(0o555)
    env = isolated_environment(AWS_ENDPOINT_URL=simulator.url)
    result = run_asyncgg("cleanup", "nightly.toml", "--dry-run", home=folder, env=env)
    folder.chmod(0o755)
    assert result.code == 2, result.describe()
    assert f"{folder / 'nightly.state'}: cannot write the state of the policy" in result.out
    assert _request_count(simulator) == 0
