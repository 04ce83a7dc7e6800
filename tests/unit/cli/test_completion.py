"""Tests of asyncgg.cli.completion."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.cli.completion import complete_metavar
from asyncgg.journal import schema as journal_schema


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: two journals, of which one is in a folder, and another file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").mkdir()
    for name in ("run.journal", "old/run"):
        journal_schema.create(tmp_path / name).close()
    (tmp_path / "readme.txt").touch()
    return tmp_path


def offered(metavar: str, incomplete: str = "") -> list[tuple[str, str]]:
    """Type and value of each item."""
    return [(item.type, item.value) for item in complete_metavar(metavar, incomplete)]


@pytest.mark.parametrize(
    ("metavar", "incomplete", "items"),
    [
        ("text|json|emf", "", ["text", "json", "emf"]),
        ("text|json|emf", "j", ["json"]),
        ("auto|RATE", "", ["auto"]),
        ("auto|RATE", "3", []),
        ("NAME", "", []),
        ("JOURNAL", "", ["old/run", "run.journal"]),
        ("JOURNAL", "r", ["run.journal"]),
        ("JOURNAL", "./r", ["./run.journal"]),
        ("JOURNAL", "old/", ["old/run"]),
    ],
)
def test_complete_metavar_fixed_values_and_journals(metavar: str, incomplete: str, items: list[str]) -> None:
    """The values that start with what is typed."""
    assert offered(metavar, incomplete) == [("plain", item) for item in items]


@pytest.mark.parametrize(
    ("metavar", "incomplete", "kind"),
    [
        ("FILE", "re", "file"),
        ("MANIFEST", "", "file"),
        ("JOURNAL", "x", "file"),
        ("JOURNAL", "missing/", "file"),
        ("JOURNAL", "readme.txt/", "file"),
        ("FOLDER", "", "dir"),
        ("LOCATION", "s", "dir"),
    ],
)
def test_complete_metavar_leaves_files_and_folders_to_the_shell(metavar: str, incomplete: str, kind: str) -> None:
    """Also those of a journal that is not found."""
    assert offered(metavar, incomplete) == [(kind, incomplete)]


def test_complete_metavar_journal_that_needs_quotes_is_left_to_the_shell(folder: Path) -> None:
    """The shell knows how to quote names of files; a completion function does not."""
    journal_schema.create(folder / "run $(x).journal").close()
    assert offered("JOURNAL") == [("file", "")]
    assert offered("JOURNAL", "o") == [("plain", "old/run")]
