"""Checks of names as columns of Arrow."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncgg.manifest import column_names
from asyncgg.manifest.column_names import as_strings, find_valid_rows, valid_columns
from asyncgg.manifest.rows import are_valid_names

pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.compute")  # loaded before the deadline of an example runs

VALUES = st.lists(
    st.one_of(
        st.sampled_from(["a", "b-1", "n" * 128, "n" * 129, "", "Core", "thingname", "thingnames", "a b", "ä", "a\n"]),
        st.text(max_size=3),
    ),
    min_size=1,
    max_size=4,
)


@given(VALUES, st.integers(0, 2), st.sampled_from([pa.string(), pa.dictionary(pa.int32(), pa.string())]))
@example(["coreDeviceThingName"], 0, pa.string())
def test_valid_columns_accepts_what_are_valid_names_accepts(values: list[str], start: int, kind: Any) -> None:
    """The check of an array, also of a part of one, decides as the check of its strings does."""
    array = as_strings(pa.array(["-", "?"][:start] + values).cast(kind)[start:])
    good = pa.array(["x"] * len(values))
    columns = valid_columns(array, good)
    assert (columns is not None) == are_valid_names(values) == (valid_columns(good, array) is not None)
    if columns is not None:
        assert [core for core, _ in columns] == values


@given(VALUES, VALUES)
def test_find_valid_rows_finds_what_are_valid_names_accepts(cores: list[str], things: list[str]) -> None:
    """The check of each row decides as the check of its strings does."""
    rows = list(zip(cores, things, strict=False))
    arrays = [pa.array(names) for names in zip(*rows, strict=True)]
    assert find_valid_rows(*arrays).to_pylist() == [are_valid_names(row) for row in rows]


@pytest.mark.parametrize("array", [pa.array([None, "a"]), pa.array([], pa.string())])
def test_valid_columns_leaves_the_rest_to_the_caller(array: Any) -> None:
    """Nulls and no rows are not taken."""
    assert valid_columns(array, array) is None


def test_is_available_without_pyarrow_is_false(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow a manifest is read without columns."""
    assert column_names.is_available()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.compute", None)
    assert not column_names.is_available()
