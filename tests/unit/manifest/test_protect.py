"""Rule: the protect list: what it blocks, and that it is read whole or not at all."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgg.errors import UsageError
from asyncgg.manifest import ProtectList, load_protect_list


def write_and_load(path: Path, text: str | bytes) -> ProtectList:
    """Write a list and load it."""
    file = path / "keep.txt"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_protect_list(str(file))


@pytest.mark.parametrize(
    ("entry", "core", "thing", "blocked"),
    [
        ("pump", "pump", "t", True),
        ("pump", "c", "pump", True),
        ("pump", "c", "pump1", False),
        ("pump", "c", "Pump", False),
        ("pump-*", "c", "pump-", True),
        ("pump-*", "pump-7", "t", True),
        ("pump-*", "c", "my-pump-7", False),
        ("pump-?", "c", "pump-12", False),
        ("pump-[0-4]", "c", "pump-3", True),
        ("pump-[!0-4]", "c", "pump-3", False),
        ("*", "c", "t", True),
        ("core:pump", "pump", "t", True),
        ("core:pump", "c", "pump", False),
        ("thing:pump", "c", "pump", True),
        ("thing:pump", "pump", "t", False),
        ("thing: pump", "c", "pump", True),
        ("core:pump-*", "pump-1", "t", True),
        ("core:pump-*", "c", "pump-1", False),
        ("site:pump", "c", "site:pump", True),
        ("site:pump", "c", "pump", False),
        ("thing:core:pump", "c", "core:pump", True),
        ("core:pump", "c", "core:pump", True),  # both readings of such an entry are protected
        ("Core:pump", "pump", "t", False),
    ],
)
def test_entry_blocks(entry: str, core: str, thing: str, blocked: bool) -> None:
    """Each entry blocks what it names, and only that; the answer is the entry as written."""
    assert ProtectList((entry,)).match(core, thing) == (entry if blocked else None)


def test_no_entries_block_nothing() -> None:
    """Without a list nothing is protected."""
    assert ProtectList().match("c", "t") is None


def test_file_with_all_liberties(tmp_path: Path) -> None:
    """Comments, blank lines, blanks, a byte order mark and CRLF are no entries."""
    protect = write_and_load(tmp_path, "\ufeff# keep\r\n\r\n  pump-1  \r\nvalve-* # the valves\r\n\tcore:c9\r\n")
    assert protect.entries == ("pump-1", "valve-*", "core:c9")
    assert protect.match("c", "valve-3") == "valve-*"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "keep.txt: the protect list has no entries: fill it, or leave --protect out"),
        ("# only\n\n", "keep.txt: the protect list has no entries"),
        ("pump\nvalve 1\n", "keep.txt:2: protect entry 'valve 1' has characters outside"),
        ("c1,t1\n", "keep.txt:1: protect entry 'c1,t1' has characters outside"),
        ("\n" + "p" * 129, "keep.txt:2: protect entry '"),
        ("core:\n", "keep.txt:1: protect entry 'core:' names nothing after `core:`"),
        ("core:p q\n", "keep.txt:1: protect entry 'core:p q' has characters outside"),
        ("pump *\n", "keep.txt:1: protect entry 'pump *' is no glob of names"),
        ("pump-[12\n", "keep.txt:1: protect entry 'pump-[12' is no glob of names"),
        ("pump-[]\n", "keep.txt:1: protect entry 'pump-[]' is no glob of names"),
        ("pump-[9-0]\n", "keep.txt:1: protect entry 'pump-[9-0]' is no glob of names"),
        ("pump-[^a]\n", "keep.txt:1: protect entry 'pump-[^a]' is no glob of names"),
        ("pump/*\n", "keep.txt:1: protect entry 'pump/*' is no glob of names"),
        ("pümp\n", r"keep.txt:1: protect entry 'p\xfcmp' has characters outside"),
        ("p\x1b[0m\n", r"keep.txt:1: protect entry 'p\x1b[0m' is no glob of names"),
        (b"pump\nv\xffalve\n", "keep.txt:2: the protect list is not UTF-8 text: save it as UTF-8"),
        ("pump\n".encode("utf-16"), "keep.txt: the protect list is UTF-16 text: save it as UTF-8"),
        ("pump\n".encode("utf-16-le"), "keep.txt:1: protect entry "),
    ],
)
def test_list_that_cannot_be_read_whole_is_an_error(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    """An entry that could never protect anything stops everything, with file and line."""
    with pytest.raises(UsageError) as caught:
        write_and_load(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/{sentence}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "sentence"), [("none.txt", "no such protect list"), (".", "Is a directory")])
def test_list_that_cannot_be_opened_is_an_error(tmp_path: Path, name: str, sentence: str) -> None:
    """A missing list is not an empty one."""
    with pytest.raises(UsageError, match=sentence):
        load_protect_list(str(tmp_path / name))


def test_entries_are_checked_without_a_file() -> None:
    """A program's entries are checked like a file's."""
    with pytest.raises(UsageError, match="protect entry `a b` has characters outside"):
        ProtectList(("a", "a b"))


@given(
    st.lists(st.from_regex(r"[ab*?-]{1,5}", fullmatch=True), min_size=1, max_size=6),
    st.from_regex(r"[ab-]{1,6}", fullmatch=True),
    st.from_regex(r"[ab-]{1,6}", fullmatch=True),
)
def test_the_whole_list_blocks_what_any_entry_blocks(entries: list[str], core: str, thing: str) -> None:
    """A list blocks exactly what one of its entries matches, by the rules of shell globs."""
    result = ProtectList(tuple(entries)).match(core, thing)
    matching = [entry for entry in entries if fnmatchcase(core, entry) or fnmatchcase(thing, entry)]
    assert (result in matching) if matching else (result is None)
