"""Tests of asyncgg.tuning.settings_file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from asyncgg.errors import UsageError
from asyncgg.settings import load_settings
from asyncgg.tuning.models import Configuration
from asyncgg.tuning.settings_file import render_settings, write_settings

CONFIG = Configuration(29.5, 12.0, 8, 4)
COMMENT = "asyncgg tune, today"

EXISTING_FILE = """\
# production
region = "eu-west-1"   # the fleet
rate = 10
per-core = 2
protect = "never.txt"

[codes]
DeviceBusy = "retry"  # rate = 3
"""


def test_write_settings_new_file_is_loaded_by_asyncgg(tmp_path: Path) -> None:
    """A new settings file has exactly the settings of the configuration."""
    path = tmp_path / "asyncgg.toml"
    write_settings(path, CONFIG, COMMENT, replace=False)
    settings = load_settings(config=path)
    assert (settings.rate, settings.burst, settings.concurrency, settings.per_core) == (29.5, 12.0, 8, 4)


def test_render_settings_automatic_burst_is_left_out() -> None:
    """An automatic burst is the default and is not written."""
    assert tomllib.loads(render_settings(Configuration(30.0, None, 8, 4), COMMENT)) == {
        "rate": 30.0,
        "concurrency": 8,
        "per_core": 4,
    }


def test_write_settings_existing_file_requires_replace(tmp_path: Path) -> None:
    """Without `replace` the file stays unchanged, and the error names the option."""
    path = tmp_path / "asyncgg.toml"
    path.write_text(EXISTING_FILE)
    with pytest.raises(UsageError, match="--replace"):
        write_settings(path, CONFIG, COMMENT, replace=False)
    assert path.read_text() == EXISTING_FILE


def test_write_settings_replace_keeps_other_lines(tmp_path: Path) -> None:
    """Other lines stay, a byte order mark does not; writing twice has the effect of writing once."""
    path = tmp_path / "asyncgg.toml"
    path.write_text("\ufeff" + EXISTING_FILE)
    write_settings(path, CONFIG, COMMENT, replace=True)
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
    write_settings(path, CONFIG, COMMENT, replace=True)
    assert path.read_text() == once
    write_settings(path, Configuration(5.0, None, 1, 1), COMMENT, replace=True)
    assert "burst" not in tomllib.loads(path.read_text())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('note = """\nrate = 3\n"""\n', "safely"),
        ("rate = [\n  1,\n]\n", "safely"),
        ("rate = = 3\n", "invalid TOML"),
    ],
)
def test_write_settings_unsafe_update_raises(tmp_path: Path, text: str, message: str) -> None:
    """A line that only looks like a setting and invalid TOML are errors without a change."""
    path = tmp_path / "asyncgg.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        write_settings(path, CONFIG, COMMENT, replace=True)
    assert path.read_text() == text


def test_write_settings_unreadable_file_raises(tmp_path: Path) -> None:
    """A folder, invalid UTF-8 and a missing folder are usage errors."""
    with pytest.raises(UsageError, match="cannot be read"):
        write_settings(tmp_path, CONFIG, COMMENT, replace=True)
    path = tmp_path / "asyncgg.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        write_settings(path, CONFIG, COMMENT, replace=True)
    with pytest.raises(UsageError, match="asyncgg"):
        write_settings(tmp_path / "no" / "asyncgg.toml", CONFIG, COMMENT, replace=False)
