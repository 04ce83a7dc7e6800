"""Associations as columns of Arrow."""

from __future__ import annotations

import pytest

from asyncgg.name_columns import NameColumns

pa = pytest.importorskip("pyarrow")

PAIRS = [("c1", "t1"), ("c1", "t2"), ("c2", "t3")]


def test_name_columns_is_a_sequence_of_pairs() -> None:
    """Length, iteration, indexes and slices are those of a list of pairs."""
    columns = NameColumns(*(pa.array(names) for names in zip(*PAIRS, strict=True)))
    assert list(columns) == PAIRS
    assert (len(columns), columns[1], columns[-1]) == (3, PAIRS[1], PAIRS[-1])
    assert list(columns[::2]) == PAIRS[::2]
    assert list(columns.filter([False, True, True])) == PAIRS[1:]
    assert 8 * 3 <= columns.nbytes < 200
