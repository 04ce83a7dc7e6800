"""Tests of help, version and completion."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import asyncgg
from asyncgg.cli.app import COMMANDS, root_command
from asyncgg.cli.options import SHARED_PANELS
from tests.support.command_line import CommandRunner
from tests.support.journal import create_journal

OPTIONS = """
    --profile --region --endpoint-url --role-arn --external-id --role-session-name
    --rate --burst --quota --explore --quota-share --concurrency --per-core
    --max-attempts
    --journal --yes --dry-run --max-things --expect-account --protect --abort-at --abort-after --deadline --json --quiet
    --log-format --format --rejects --skip-bad-rows --config --debug --request-timeout --transport --connect-timeout
    --max-attempts-unknown --stall-timeout --things --cores --core --inventory --max-age --allow-incomplete
    --notify --absent --missing-cores --allow-empty --continue-when-denied
    --allow-unknown-region --allow-unknown-account --snapshot
    --verbose --log-file --log-requests
    --state --state-interval --state-lease
    --metrics-file --metrics-push --metrics-port --otel
"""


RUN_COMMANDS = """
import json, os, sys
from asyncgg.cli import main

slow = ("aiobotocore", "aiohttp", "botocore", "pyarrow", "pydantic", "rich", "tenacity")
observed = []
for line in sys.argv[1:]:
    observed.append([main(line.split()), *(name for name in slow if name in sys.modules)])
os.environ.update(_ASYNCGG_COMPLETE="bash_complete", COMP_WORDS="asyncgg disassociate --max", COMP_CWORD="2")
observed.append([main([]), *(name for name in slow if name in sys.modules)])
print()
print(json.dumps(observed))
"""
"""Runs commands, then a completion, and prints the exit code of each and the slow modules that are imported by then."""


def find_command(name: str) -> click.Command:
    """The command of this name, such as `disassociate` or `fleet plan`."""
    command: click.Command = root_command
    for word in name.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    return command


def leaf_commands() -> list[str]:
    """The commands without commands of their own."""
    names: list[str] = []
    for name in COMMANDS:
        command = find_command(name)
        names += [f"{name} {own}" for own in command.commands] if isinstance(command, click.Group) else [name]
    return names


def options_of(name: str) -> list[click.Option]:
    """The options of a command."""
    return [parameter for parameter in find_command(name).params if isinstance(parameter, click.Option)]


def test_commands_without_requests_import_no_slow_modules(tmp_path: Path) -> None:
    """Help, usage errors, completion, `status` and `report` do without the modules of requests and settings."""
    journal = tmp_path / "run.journal"
    create_journal(journal, meta={"run": "r"})
    lines = [f"{name} --help" for name in leaf_commands() if name != "simulator"]  # its options are those of its server
    lines += ["--version", "--help", f"status {journal}", f"report {journal} --outcomes all.csv"]
    usage_errors = ["nonsense", "disassociate --nonsense", "inventory --max-age soon"]
    done = subprocess.run(
        [sys.executable, "-c", RUN_COMMANDS, *usage_errors, *lines],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [[2]] * len(usage_errors) + [[0]] * (len(lines) + 1)
    assert "plain,--max-things" in done.stdout
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout
    assert "Exit codes: 0 all done" in done.stdout


def test_import_loads_few_modules() -> None:
    """`import asyncgg` loads no other package and few modules, since names are imported on first use."""
    script = "import sys; before = set(sys.modules); import asyncgg; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = done.stdout.split()
    assert {name.partition(".")[0] for name in modules} - sys.stdlib_module_names == {"asyncgg"}
    assert len(modules) <= 60


def test_version_is_that_of_the_package(cli: CommandRunner) -> None:
    """`--version` prints the version of the package."""
    result = cli("--version")
    assert result.code == 0
    assert result.out == f"asyncgg {asyncgg.__version__}\n"


@pytest.mark.parametrize("name", leaf_commands())
def test_help_of_every_command_has_examples_and_fits_80_columns(cli: CommandRunner, name: str) -> None:
    """The help of a command has examples before its options, explains each of them, and fits 80 columns."""
    result = cli(*name.split(), "--help")
    assert result.code == 0
    examples, options_text = result.out.split("Examples:")[1].split("\n\n", 1)
    assert f"    asyncgg {name}" in examples
    assert "  -h, --help" in options_text
    panels = [line for line in options_text.splitlines() if re.fullmatch(r"[A-Z].*:", line)]
    assert panels[-1] == "Other:"
    shared = [f"{panel}:" for panel in SHARED_PANELS]
    assert sorted(panels, key=lambda panel: shared.index(panel) if panel in shared else -1) == panels
    assert max(map(len, result.out.splitlines())) <= 80
    options = options_of(name)
    assert options
    assert all(option.help and option.opts[-1].startswith("--") for option in options)


def test_usage_error_names_the_help_of_its_command(cli: CommandRunner) -> None:
    """An option without its value refers to the help of the command, not to that of asyncgg."""
    result = cli("report", "run.journal", "--html")
    assert result.code == 2
    assert result.err == "error: Option '--html' requires an argument; see asyncgg report --help\n"


def test_disassociate_has_the_options_of_the_contract() -> None:
    """The options of `disassociate` are those of the contract."""
    assert {option.opts[-1] for option in options_of("disassociate")} == set(OPTIONS.split())


def test_completion_lists_commands_and_options(cli: CommandRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell's completion variable lists what can follow."""
    monkeypatch.setenv("_ASYNCGG_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "asyncgg re")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert cli().out.split() == ["plain,resume", "plain,retry", "plain,report"]
