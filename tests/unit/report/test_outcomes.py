"""Tests of asyncgg.report.outcomes."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from asyncgg.errors import UsageError
from asyncgg.journal import OutcomeRow
from asyncgg.models import ThingState
from asyncgg.report.outcomes import COLUMNS, write_outcomes
from asyncgg.tables import require_table_format


def _make_row(thing: str = "t", code: str = "C", message: str = "m") -> OutcomeRow:
    return OutcomeRow("c", thing, ThingState.FAILED, code, message, 1, 0.25, "id")


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@settings(max_examples=50)
@given(rows=st.lists(st.tuples(TEXTS, TEXTS), max_size=5))
def test_write_outcomes_csv_escapes_formulas_only(
    rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No cell starts a formula, and without the apostrophe every cell is unchanged."""
    path = tmp_path_factory.mktemp("csv") / "list.csv"
    assert write_outcomes(path, [_make_row(code=code, message=message) for code, message in rows], Path("j")) == len(
        rows
    )
    with io.StringIO(path.read_bytes().decode(), newline="") as file:
        header, *read = list(csv.reader(file))
    assert header == list(COLUMNS)
    assert len(read) == len(rows)
    for (code, message), cells in zip(rows, read, strict=True):
        for given_text, cell in ((code, cells[3]), (message, cells[4])):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
            assert cell == given_text or (cell == f"'{given_text}" and given_text[0] in "=+-@\t\r")


def test_write_outcomes_jsonl_keeps_text(tmp_path: Path) -> None:
    """JSONL keeps texts that CSV escapes."""
    write_outcomes(tmp_path / "list.jsonl", [_make_row(message="=1+1\n")], Path("j"))
    row = json.loads((tmp_path / "list.jsonl").read_text(encoding="utf-8"))
    assert row["message"] == "=1+1\n"
    assert row["at"] == "1970-01-01T00:00:00.250Z"


def test_write_outcomes_gzip_is_deterministic(tmp_path: Path) -> None:
    """The same rows give the same bytes for any file name and time."""
    for name in ("a.csv.gz", "b.csv.gz"):
        write_outcomes(tmp_path / name, [_make_row()], Path("j"))
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_write_outcomes_error_keeps_old_file(tmp_path: Path) -> None:
    """An error after the first row leaves no partial and no temporary file."""
    path = tmp_path / "list.csv"
    path.write_text("old", encoding="utf-8")

    def broken() -> object:
        yield _make_row()
        raise OSError(28, "No space left on device")

    with pytest.raises(UsageError, match=r"list\.csv: cannot write the file: No space left on device"):
        write_outcomes(path, broken(), Path("j"))  # type: ignore[arg-type]  # a generator of rows, seen as an object
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_outcomes_parquet_has_types_and_is_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times and numbers keep their type, over several row groups; the empty list has the columns."""
    monkeypatch.setattr("asyncgg.tables._ROW_GROUP", 2)
    path = tmp_path / "list.parquet"
    rows = [_make_row(f"t{number}", message="=1+1") for number in range(5)]
    assert write_outcomes(path, [*rows, replace(rows[0], answered_at=None)], Path("j")) == 6
    table = parquet.read_table(path)
    assert table.column_names == list(COLUMNS)
    assert table.column("at").to_pylist() == [datetime.fromtimestamp(0.25, UTC)] * 5 + [None]
    assert table.column("attempts").to_pylist() == [1] * 6
    assert set(table.column("message").to_pylist()) == {"=1+1"}
    assert write_outcomes(path, [], Path("j")) == 0
    assert parquet.read_table(path).column_names == list(COLUMNS)


def test_parquet_without_pyarrow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UsageError, match=r"all\.parquet: Parquet requires pyarrow: pip install 'asyncgg\[parquet\]'"):
        require_table_format(Path("all.parquet"))
