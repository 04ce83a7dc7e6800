"""Tests of the man pages, with mandoc."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from asyncgg.cli.app import COMMANDS
from tests.test_docs import generator

ROOT = Path(__file__).parents[1]
MAN = ROOT / "docs" / "man"
NO_DATE = 'WARNING: missing date, using "": TH'
"""The pages have none, so that they are the same every day."""


def mandoc(*arguments: object) -> str:
    """What mandoc prints."""
    program = shutil.which("mandoc")
    if program is None:
        pytest.skip("mandoc is not installed")
    finished = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    return finished.stdout + finished.stderr


def test_man_pages_are_current() -> None:
    """There is a page of asyncgg, of each command and of each one of a group, as the generator writes it now."""
    pages, command_names = generator().man_pages(), generator().command_names()
    assert set(pages) == {"asyncgg.1", *(f"asyncgg-{name.replace(' ', '-')}.1" for name in command_names)}
    assert {"fleet", "fleet plan", *COMMANDS} <= set(command_names)
    assert {path.name: path.read_text(encoding="utf-8") for path in MAN.iterdir()} == pages, (
        "run: python docs/generate_reference.py"
    )


def test_man_pages_are_accepted_by_mandoc(tmp_path: Path) -> None:
    """It has no error and no warning, and finds those of a damaged page."""
    problems = mandoc("-T", "lint", "-W", "warning", *sorted(MAN.iterdir())).splitlines()
    assert [line for line in problems if NO_DATE not in line] == []
    damaged = tmp_path / "damaged.1"
    damaged.write_text((MAN / "asyncgg.1").read_text(encoding="utf-8").replace(".fi", ".unknown"), encoding="utf-8")
    assert [line for line in mandoc("-T", "lint", "-W", "warning", damaged).splitlines() if NO_DATE not in line]


@pytest.mark.parametrize("name", ["disassociate", "iam-policy"])
def test_man_page_shows_every_option_and_example(name: str) -> None:
    """As mandoc shows the page, nothing is lost to roff, also not lines that start with a dot."""
    shown = " ".join(_without_overstrike(mandoc("-T", "ascii", "-O", "width=200", MAN / f"asyncgg-{name}.1")).split())
    command = generator().parse(name)
    assert command.options
    for option in command.options:
        assert option.term in shown
        assert " ".join(option.text.split()) in shown
    for example in command.examples:
        assert " ".join(example.split()) in shown


def _without_overstrike(text: str) -> str:
    """The text without what makes it bold or underlined: a character, a backspace and it again."""
    while (at := text.find("\b")) > 0:
        text = text[: at - 1] + text[at + 1 :]
    return text


def test_man_pages_are_installed_with_the_wheel() -> None:
    """`man` looks in share/man next to the bin folder of the PATH."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"] == {"docs/man": "share/man/man1"}
