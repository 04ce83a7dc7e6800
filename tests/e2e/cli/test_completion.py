"""Tests of completion in bash, zsh and fish: the Tab key on a terminal."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asyncgg.journal import schema as journal_schema
from tests.support.command_line import Terminal, isolated_environment, wait_until

_SHOW = """printf '%s\\n' "$@" > shown.part; mv shown.part shown"""
SHELLS = {
    "bash": (
        ("--norc", "--noprofile", "-i"),
        'eval "$(_ASYNCGG_COMPLETE=bash_source asyncgg)"',
        f"show() {{ {_SHOW}; }}",
    ),
    "zsh": (
        ("-f", "-i"),
        'eval "$(_ASYNCGG_COMPLETE=zsh_source asyncgg)"',
        f"autoload -Uz compinit; compinit -D -u; show() {{ {_SHOW}; }}",
    ),
    "fish": (
        ("--no-config", "-i"),
        "_ASYNCGG_COMPLETE=fish_source asyncgg | source",
        f"function show; {_SHOW.replace('$@', '$argv')}; end",
    ),
}
"""The options of each shell, the command that enables completion, and a function that writes its words to a file."""
PAGE = Path(__file__).parents[3] / "docs" / "howto" / "shell.md"
TAB, START_OF_LINE = "\t", "\x01"


@contextmanager
def open_shell(name: str, folder: Path) -> Iterator[Terminal]:
    """The shell on a new terminal of 200 columns in `folder`, with completion of asyncgg."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    options, enable, show = SHELLS[name]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = isolated_environment(PATH=path, HOME=str(folder), COLUMNS="200", HISTFILE="")
    parent, child = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", program, *options],
        cwd=folder,
        env=environment,
        stdin=child,
        stdout=child,
        stderr=child,
    )
    os.close(child)
    try:
        terminal = Terminal(process, parent)
        terminal.type(f"{show}\n{enable}\n")
        yield terminal
    finally:
        process.kill()
        process.wait()
        os.close(parent)


def complete(terminal: Terminal, folder: Path, words: str) -> list[str]:
    """What the Tab key makes of the words: the shell writes them to a file instead of running them."""
    shown = folder / "shown"
    shown.unlink(missing_ok=True)
    terminal.type(f"{words}{TAB}{START_OF_LINE}show \n")
    wait_until(shown.exists, seconds=30)
    return shown.read_text(encoding="utf-8").split()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two journals, one of them in a folder below and one without the suffix."""
    (tmp_path / "nightly").mkdir()
    for name in ("run-7.journal", "nightly/old-run"):
        journal_schema.create(tmp_path / name).close()
    for name in ("run-notes.txt", "manifest.csv"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_commands_options_and_journals(shell: str, folder: Path) -> None:
    """Of the files that start alike only the journal is one for JOURNAL; others get files or fixed values."""
    with open_shell(shell, folder) as terminal:
        for typed, completed in {
            "asyncgg disas": "asyncgg disassociate",
            "asyncgg report run": "asyncgg report run-7.journal",
            "asyncgg undo nightly/": "asyncgg undo nightly/old-run",
            "asyncgg plan mani": "asyncgg plan manifest.csv",
            "asyncgg resume run-7.journal --transport n": "asyncgg resume run-7.journal --transport native",
            "asyncgg report run-7.journal --fail": "asyncgg report run-7.journal --failures",
        }.items():
            assert complete(terminal, folder, typed) == completed.split()


def test_shell_page_has_the_tested_commands() -> None:
    """The guide enables completion as these tests do."""
    text = PAGE.read_text(encoding="utf-8")
    for _, enable, _ in SHELLS.values():
        assert enable.removesuffix(" | source") in text
