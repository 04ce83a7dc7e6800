"""Tests of rows passed by a program."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asyncgg.manifest import Row, from_async_iterable, from_iterable
from asyncgg.models import Association
from tests.support.manifest import read_all


def test_from_iterable_accepts_pairs_associations_and_mappings() -> None:
    """Pairs, associations and mappings with the columns of a manifest give their pair."""
    rows: list[Row] = [("a", "b"), Association("a", "b"), {"thingName": "b", "core": "a", "n": "1"}]
    assert read_all(from_iterable(rows)) == ([("a", "b")] * 3, [])


def test_from_iterable_leaves_out_the_header_of_a_csv_reader() -> None:
    """A `csv.reader` gives the header as its first row."""
    (chunk,) = from_iterable(csv.reader(["\ufeffcore,thing", "a,b", "core,thing", "a,b"]))  # type: ignore[arg-type]
    assert (chunk.good, chunk.bad, chunk.headers) == ([("a", "b")] * 2, [], [1, 3])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("ab", "is not a pair of core and thing"),
        (("a", "b", "c"), "is not a pair of core and thing"),
        (None, "is not a pair of core and thing"),
        (("a", 7), "thing is not text"),
        (("a", None), "thing is null"),
        (("", "b b"), "core is empty; thing contains characters outside a-z A-Z 0-9 : _ -"),
        ({"core": "a"}, "lacks the key `core` or `thing`"),
        ({"core": "a", "thing": "b", "Thing": "b"}, "has `core` or `thing` twice"),
    ],
)
def test_from_iterable_bad_row_has_its_number(row: Any, reason: str) -> None:
    """A bad row has its number, and the rows around it are read."""
    good, bad = read_all(from_iterable([("a", "b"), row, ("a", "b")]))
    assert good == [("a", "b")] * 2
    assert [str(bad_row) for bad_row in bad] == [f"<iterable>:2: {reason}"]
    assert bad[0].raw == repr(row)


async def test_from_async_iterable_equals_from_iterable() -> None:
    """An asynchronous iterable gives the same bounded chunks as a synchronous one."""
    rows: list[Any] = [("c", f"t{at}") if at % 7 else None for at in range(20_000)]

    async def source() -> AsyncIterator[Any]:
        for row in rows:
            yield row

    chunks = [chunk async for chunk in from_async_iterable(source(), name="fleet")]
    assert chunks == list(from_iterable(rows, name="fleet"))
    assert max(len(chunk.good) + len(chunk.bad) for chunk in chunks) <= 8192
    assert sum(len(chunk.good) for chunk in chunks) == sum(row is not None for row in rows)


def test_from_iterable_without_rows_is_empty() -> None:
    """No rows give no chunks and no error."""
    assert list(from_iterable([])) == []
