"""Help and version: what they say, and what they need not wait for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import asyncgg
from asyncgg.cli.app import COMMANDS, build_cli
from tests.support.command_line import CommandRunner

OPTIONS = """
    --profile --region --endpoint-url --rate --burst --quota --quota-share --concurrency --per-core --max-attempts
    --journal --yes --dry-run --max-things --expect-account --protect --abort-at --abort-after --deadline --json --quiet
    --log-format --format --rejects --skip-bad-rows --config --debug --request-timeout --transport --connect-timeout
    --max-attempts-unknown --stall-timeout --things --cores --core --inventory --max-age --allow-unlisted
    --notify
"""


def test_help_does_not_wait_for_aws() -> None:
    """`asyncgg --help` imports neither aiobotocore nor aiohttp, pydantic or asyncio."""
    code = (
        "import sys; from asyncgg.cli import main; main(['--help']);"
        "print([name for name in ('aiobotocore', 'aiohttp', 'pydantic', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout
    assert "Exit codes: 0 all done" in done.stdout


def test_version(cli: CommandRunner) -> None:
    """`--version` is the package's."""
    ended = cli("--version")
    assert ended.code == 0
    assert ended.out == f"asyncgg {asyncgg.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(cli: CommandRunner, name: str) -> None:
    """Each command's help ends with examples of itself, and each of its options says what it does."""
    ended = cli(name, "--help")
    assert ended.code == 0
    assert f"    asyncgg {name}" in ended.out.split("Examples:")[1]
    command = build_cli().get_command(None, name)
    options = [one for one in command.params if one.param_type_name == "option"]
    assert options
    assert all(one.help and one.opts[0].startswith("--") for one in options)


def test_the_contract_s_options_are_there() -> None:
    """`disassociate` has the options that the contract names."""
    command = build_cli().get_command(None, "disassociate")
    options = {one.opts[0] for one in command.params if one.param_type_name == "option"}
    assert options == set(OPTIONS.split())
