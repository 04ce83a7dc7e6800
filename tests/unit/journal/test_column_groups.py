"""Columns of names grouped by core."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgg.journal.column_groups import joined_names
from asyncgg.name_columns import NameColumns

pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.compute")  # loaded before the deadline of an example runs

NAMES = st.text("ab:_-Z9", min_size=1, max_size=3)


@given(st.lists(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=20), min_size=1, max_size=4), st.integers(1, 4))
def test_joined_names_has_every_name_by_core(parts: list[list[tuple[str, str]]], max_names: int) -> None:
    """The cores ascend, each row has few names, and together they are the pairs."""
    columns = [NameColumns(*(pa.array(names) for names in zip(*part, strict=True))) for part in parts]
    rows = [(core, joined.split(" ")) for core, joined in joined_names(columns, max_names)]
    assert [core for core, _ in rows] == sorted(core for core, _ in rows)
    assert max(len(names) for _, names in rows) <= max_names
    assert sorted((core, name) for core, names in rows for name in names) == sorted(
        pair for part in parts for pair in part
    )
    assert columns == []
