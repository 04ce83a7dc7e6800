"""Rule: recommended settings as TOML, and what they do to a file that is there: nothing but what was asked."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from asyncgg.errors import UsageError
from asyncgg.settings import load_settings
from asyncgg.tuning.models import Configuration
from asyncgg.tuning.settings_file import render_settings, write_settings

POINT = Configuration(29.5, 12.0, 8, 4)
COMMENT = "asyncgg tune, today"

EXISTING_FILE = """\
# ours
region = "eu-west-1"   # where it all is
rate = 10
per-core = 2
protect = "never.txt"

[codes]
DeviceBusy = "retry"  # rate = 3
"""


def test_the_block_is_a_settings_file(tmp_path: Path) -> None:
    """What is written where nothing was is read back by the program as exactly these settings."""
    path = tmp_path / "asyncgg.toml"
    write_settings(path, POINT, COMMENT, replace=False)
    settings = load_settings(config=path)
    assert (settings.rate, settings.burst, settings.concurrency, settings.per_core) == (29.5, 12.0, 8, 4)


def test_an_automatic_burst_is_left_out() -> None:
    """`auto` is the default, so it is no line."""
    assert tomllib.loads(render_settings(Configuration(30.0, None, 8, 4), COMMENT)) == {
        "rate": 30.0,
        "concurrency": 8,
        "per_core": 4,
    }


def test_a_file_that_is_there_is_kept_unless_told(tmp_path: Path) -> None:
    """Without --replace nothing is touched, and the message says what would help."""
    path = tmp_path / "asyncgg.toml"
    path.write_text(EXISTING_FILE)
    with pytest.raises(UsageError, match="--replace"):
        write_settings(path, POINT, COMMENT, replace=False)
    assert path.read_text() == EXISTING_FILE


def test_replacing_changes_these_settings_and_no_other_line(tmp_path: Path) -> None:
    """Comments, other keys and tables stay as they are; writing twice is the same as once."""
    path = tmp_path / "asyncgg.toml"
    path.write_text(EXISTING_FILE)
    write_settings(path, POINT, COMMENT, replace=True)
    once = path.read_text()
    assert tomllib.loads(once) == {
        "region": "eu-west-1",
        "protect": "never.txt",
        "rate": 29.5,
        "burst": 12.0,
        "concurrency": 8,
        "per_core": 4,
        "codes": {"DeviceBusy": "retry"},
    }
    unchanged_lines = [
        line for line in EXISTING_FILE.splitlines() if line and not line.startswith(("rate", "per-core"))
    ]
    assert [line for line in once.splitlines() if line in unchanged_lines] == unchanged_lines
    write_settings(path, POINT, COMMENT, replace=True)
    assert path.read_text() == once
    write_settings(path, Configuration(5.0, None, 1, 1), COMMENT, replace=True)
    assert "burst" not in tomllib.loads(path.read_text())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('note = """\nrate = 3\n"""\n', "by hand"),
        ("rate = [\n  1,\n]\n", "by hand"),
        ("rate = = 3\n", "correct it first"),
    ],
)
def test_a_file_that_cannot_be_changed_safely_is_left_alone(tmp_path: Path, text: str, words: str) -> None:
    """A line that only looks like a setting, and a file that is no TOML, are refused untouched."""
    path = tmp_path / "asyncgg.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        write_settings(path, POINT, COMMENT, replace=True)
    assert path.read_text() == text


def test_what_cannot_be_read_or_written_is_told(tmp_path: Path) -> None:
    """A folder and bytes that are no text are one line each."""
    with pytest.raises(UsageError, match="cannot be read"):
        write_settings(tmp_path, POINT, COMMENT, replace=True)
    path = tmp_path / "asyncgg.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        write_settings(path, POINT, COMMENT, replace=True)
    with pytest.raises(UsageError, match="cannot be written"):
        write_settings(tmp_path / "no" / "asyncgg.toml", POINT, COMMENT, replace=False)
