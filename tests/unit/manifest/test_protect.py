"""Tests of the protect list."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgg.errors import UsageError
from asyncgg.manifest import ProtectList, load_protect_list
from asyncgg.name_columns import NameColumns

pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.compute")  # loaded before the deadline of an example runs


def write_and_load(path: Path, text: str | bytes) -> ProtectList:
    """Write a list and load it."""
    file = path / "keep.txt"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_protect_list(str(file))


@pytest.mark.parametrize(
    ("entry", "core", "thing", "protected"),
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
def test_protect_list_entry_protects_what_matches(entry: str, core: str, thing: str, protected: bool) -> None:
    """Each entry protects what matches and nothing else; the result is the entry as written."""
    assert ProtectList((entry,)).match(core, thing) == (entry if protected else None)


def test_protect_list_without_entries_protects_nothing() -> None:
    """An empty list protects nothing."""
    assert ProtectList().match("c", "t") is None


def test_load_protect_list_ignores_comments_and_blanks(tmp_path: Path) -> None:
    """Comments, blank lines, blanks, a byte order mark and CRLF are not entries."""
    protect = write_and_load(tmp_path, "\ufeff# keep\r\n\r\n  pump-1  \r\nvalve-* # the valves\r\n\tcore:c9\r\n")
    assert protect.entries == ("pump-1", "valve-*", "core:c9")
    assert protect.match("c", "valve-3") == "valve-*"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "keep.txt: the protect list has no entries; add an entry or omit the list"),
        ("pump\nsensor-1#2\n", "keep.txt:2: "),
        ("sensor-*#2\n", "keep.txt:1: "),
        ("pump\nvalve 1\n", "keep.txt:2: invalid protect entry 'valve 1': contains characters outside"),
        ("c1,t1\n", "keep.txt:1: invalid protect entry 'c1,t1': contains characters outside"),
        ("\n" + "p" * 129, "keep.txt:2: invalid protect entry '"),
        ("core:\n", "keep.txt:1: invalid protect entry 'core:': no name after `core:`"),
        ("core:p q\n", "keep.txt:1: invalid protect entry 'core:p q': contains characters outside"),
        ("pump *\n", "keep.txt:1: invalid protect entry 'pump *': not a glob of names"),
        ("pump-[12\n", "keep.txt:1: invalid protect entry 'pump-[12': not a glob of names"),
        ("pump-[]\n", "keep.txt:1: invalid protect entry 'pump-[]': not a glob of names"),
        ("pump-[9-0]\n", "keep.txt:1: invalid protect entry 'pump-[9-0]': not a glob of names"),
        ("pump-[^a]\n", "keep.txt:1: invalid protect entry 'pump-[^a]': not a glob of names"),
        ("pump/*\n", "keep.txt:1: invalid protect entry 'pump/*': not a glob of names"),
        ("pümp\n", r"keep.txt:1: invalid protect entry 'p\xfcmp': contains characters outside"),
        ("p\x1b[0m\n", r"keep.txt:1: invalid protect entry 'p\x1b[0m': not a glob of names"),
        (b"pump\nv\xffalve\n", "keep.txt:2: the list is not UTF-8 text; save the file as UTF-8"),
        ("pump\n".encode("utf-16"), "keep.txt is UTF-16 text; save the file as UTF-8"),
        ("pump\n".encode("utf-16-le"), "keep.txt:1: invalid protect entry "),
    ],
)
def test_load_protect_list_invalid_entry_raises(tmp_path: Path, text: str | bytes, message: str) -> None:
    """An entry that cannot match any name is an error with file and line."""
    with pytest.raises(UsageError) as caught:
        write_and_load(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/{message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "message"), [("none.txt", "no such file"), (".", "is a directory")])
def test_load_protect_list_unreadable_file_raises(tmp_path: Path, name: str, message: str) -> None:
    """A missing list is not an empty list."""
    with pytest.raises(UsageError, match=message):
        load_protect_list(str(tmp_path / name))


def test_protect_list_invalid_entry_raises() -> None:
    """The entries of a program are validated like those of a file."""
    with pytest.raises(UsageError, match="invalid protect entry `a b`: contains characters outside"):
        ProtectList(("a", "a b"))


@given(
    st.lists(st.from_regex(r"[ab*?-]{1,5}", fullmatch=True), min_size=1, max_size=6),
    st.from_regex(r"[ab-]{1,6}", fullmatch=True),
    st.from_regex(r"[ab-]{1,6}", fullmatch=True),
)
def test_protect_list_protects_what_any_entry_matches(entries: list[str], core: str, thing: str) -> None:
    """A list protects exactly what one of its entries matches by the rules of shell globs."""
    result = ProtectList(tuple(entries)).match(core, thing)
    matching = [entry for entry in entries if fnmatchcase(core, entry) or fnmatchcase(thing, entry)]
    assert (result in matching) if matching else (result is None)


PROTECTABLE = st.sampled_from(["a", "a1", "b", "core:a", "thing:b"])


@given(
    st.lists(st.sampled_from(["a", "core:a", "thing:b", "a*", "core:?1", "[ab]1"]), max_size=3),
    st.lists(st.tuples(PROTECTABLE, PROTECTABLE), max_size=5),
)
def test_without_protected_leaves_what_match_does_not_find(entries: list[str], pairs: list[tuple[str, str]]) -> None:
    """Pairs and columns lose exactly the rows that an entry protects."""
    protect = ProtectList(tuple(entries))
    expected = [pair for pair in pairs if protect.match(*pair) is None]
    assert protect.without_protected(pairs) == expected
    columns = NameColumns(*(pa.array([pair[index] for pair in pairs], pa.string()) for index in (0, 1)))
    assert list(protect.without_protected(columns)) == expected
