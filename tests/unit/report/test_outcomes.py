"""Lists of outcomes: harmless, round, whole or not there."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgg.errors import UsageError
from asyncgg.formatting import format_timestamp
from asyncgg.journal import OutcomeRow
from asyncgg.models import RunState, Summary, ThingState
from asyncgg.report.html import MAX_ROWS, render_html
from asyncgg.report.outcomes import COLUMNS, write_outcomes


def _make_row(thing: str = "t", code: str = "C", message: str = "m") -> OutcomeRow:
    return OutcomeRow("c", thing, ThingState.FAILED, code, message, 1, 0.25, "id")


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@settings(max_examples=50)
@given(rows=st.lists(st.tuples(WORDS, WORDS), max_size=5))
def test_csv_cells_are_harmless(rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """No code or message can begin a formula, and but for that apostrophe each is read back as it was."""
    path = tmp_path_factory.mktemp("csv") / "list.csv"
    assert write_outcomes(path, [_make_row(code=code, message=message) for code, message in rows], Path("j")) == len(
        rows
    )
    with io.StringIO(path.read_bytes().decode(), newline="") as file:
        head, *read = list(csv.reader(file))
    assert tuple(head) == COLUMNS
    assert len(read) == len(rows)
    for (code, message), cells in zip(rows, read, strict=True):
        for given_text, cell in ((code, cells[3]), (message, cells[4])):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
            assert cell == given_text or (cell == f"'{given_text}" and given_text[0] in "=+-@\t\r")


def test_jsonl_is_word_for_word(tmp_path: Path) -> None:
    """JSONL keeps what CSV has to change."""
    write_outcomes(tmp_path / "list.jsonl", [_make_row(message="=1+1\n")], Path("j"))
    row = json.loads((tmp_path / "list.jsonl").read_text(encoding="utf-8"))
    assert row["message"] == "=1+1\n"
    assert row["at"] == "1970-01-01T00:00:00.250Z"


def test_compressed_lists_are_the_same_each_time(tmp_path: Path) -> None:
    """The same rows give the same bytes, whatever the file is called and whenever it is written."""
    for name in ("a.csv.gz", "b.csv.gz"):
        write_outcomes(tmp_path / name, [_make_row()], Path("j"))
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_a_list_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    """An error in the midst leaves neither a half file nor a part of one."""
    path = tmp_path / "list.csv"
    path.write_text("old", encoding="utf-8")

    def broken() -> object:
        yield _make_row()
        raise OSError(28, "No space left on device")

    with pytest.raises(UsageError, match=r"list\.csv: it cannot be written: No space left on device"):
        write_outcomes(path, broken(), Path("j"))  # type: ignore[arg-type]  # a generator of rows, seen as an object
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unanswered_thing_has_no_time() -> None:
    """Nothing is made up for a thing that was never answered."""
    assert format_timestamp(None) == ""


def test_the_page_escapes_everything() -> None:
    """Whatever a service or a file name says, it is text on the page."""
    evil = "<script>alert('x')</script>"
    summary = Summary(evil, evil, RunState.PARTIAL, 1, 0, 1, 0, failures={evil: 1})
    meta = dict.fromkeys(("source", "account", "arn", "region", "endpoint"), evil)
    page = render_html(summary, meta, [_make_row(evil, evil, evil)], generated_at=0.0, reason=evil)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 10


def test_the_page_lists_a_bounded_number_of_failures() -> None:
    """Beyond the limit the page says how many there are."""
    summary = Summary("r", "j", RunState.PARTIAL, 9_000, 0, 9_000, 0, failures={"C": 9_000})
    page = render_html(summary, {}, (_make_row(f"thing-{n}") for n in range(9_000)), generated_at=0.0)
    assert f"The first {MAX_ROWS} of 9,000 failed things" in page
    assert page.count("<td>thing-") == MAX_ROWS
