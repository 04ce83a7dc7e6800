"""Rule: lists of bare names are tested here."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Literal

import pytest

from asyncgg.errors import UsageError
from asyncgg.manifest.name_lists import read_names

LISTS = {
    "plain": (b"a\nb\n\n# all of it\nc # why\na\n", ["a", "b", "c"]),
    "windows": (b"\xef\xbb\xbfa\r\nb\r\n", ["a", "b"]),
    "headed": (b"thingName\na\n", ["a"]),
    "manifest": (b"core,thing\nx,a\ny,b\nx,b\n", ["a", "b"]),
    "semicolons": (b"note;Thing \nold; a\nolder;b\n", ["a", "b"]),
    "after a comment": (b"# core,thing\na\n", ["a"]),
    "old Macs": (b"a\rb\r", ["a", "b"]),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists(tmp_path: Path, name: str) -> None:
    """One name a line, or the column of a CSV; each once, in their order."""
    data, expected = LISTS[name]
    (tmp_path / "list").write_bytes(data)
    assert read_names(tmp_path / "list", "thing") == expected


def test_the_column_of_cores(tmp_path: Path) -> None:
    """A manifest is a list of its cores too."""
    (tmp_path / "list").write_text("coreDeviceThingName,thingName\nx,a\ny,b\nx,b\n")
    assert read_names(tmp_path / "list", "core") == ["x", "y"]


@pytest.mark.parametrize("kind", ["thing", "core"])
def test_pairs_are_not_all_of_a_thing(tmp_path: Path, kind: Literal["thing", "core"]) -> None:
    """Where every association of a name is meant, a manifest is refused: its rows are single ones."""
    (tmp_path / "list").write_text("core,thingName\nx,a\n")
    with pytest.raises(UsageError, match=r"list:1: there is a column `\w+` too, so each row is one association"):
        read_names(tmp_path / "list", kind, reject_pairs=True)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads it, and faults name it."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nno name\n")))
    with pytest.raises(UsageError, match="standard input:2: `no name` is no thing's name: it has characters outside"):
        read_names("-", "thing")


INVALID_LISTS = {
    "a name that is none": (b"a\nx/y\n", r"list:2: `x/y` is no thing's name: it has characters outside"),
    "no column": (b"core,device\nx,a\n", r"list:1: no column `thing`"),
    "a short row": (b"core,thing\nx,a\ny\n", r"list:3: `` is no thing's name: it is empty"),
    "nothing": (b"# nothing\n\n", "list: the list holds no names"),
    "only a header": (b"thing\n", "list: the list holds no names"),
    "a comment within a name": (b"sensor-1#old\n", r"list:1: `sensor-1#old` is no thing's name"),
    "an endless cell": (b"core,thing\nx," + b"a" * 200_000, "list:2: this is no row of a CSV: field larger than"),
    "no text": (b"a\nb\n\xff\xfe\n", "list:3: the list is not UTF-8 text"),
}


@pytest.mark.parametrize("name", INVALID_LISTS)
def test_faults(tmp_path: Path, name: str) -> None:
    """One line: file, line, what is wrong."""
    data, message = INVALID_LISTS[name]
    (tmp_path / "list").write_bytes(data)
    with pytest.raises(UsageError, match=message) as raised:
        read_names(tmp_path / "list", "thing")
    assert "\n" not in str(raised.value)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    """A missing file and a folder are named."""
    with pytest.raises(UsageError, match="there is no such list"):
        read_names(tmp_path / "list", "thing")
    with pytest.raises(UsageError, match="cannot be read"):
        read_names(tmp_path, "thing")
