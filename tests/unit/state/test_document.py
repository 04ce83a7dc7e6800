"""Tests of `asyncgg.state.document`."""

from __future__ import annotations

import pytest

from asyncgg.errors import JournalError
from asyncgg.state import LeaseHolder, SavedFile, StateDocument


def test_parse_returns_what_was_stored() -> None:
    """A stored document is read as it was."""
    files = {"20260131T020000Z/run.journal": SavedFile("files/key", 4096, "0" * 64)}
    document = StateDocument(files=files, clean=False, saved_at=1.5, holder=LeaseHolder("host:1:ab", 90.0, 2.5))
    assert StateDocument.parse(document.to_json(), "x") == document


@pytest.mark.parametrize(
    "text",
    [
        '{"saved_at": 1e300}',
        '{"saved_at": NaN}',
        '{"holder": {"owner": "x", "seconds": NaN, "expires_at": 1}}',
        '{"holder": {"owner": "x", "seconds": -1, "expires_at": 1}}',
        *(
            f'{{"files": {{"{name}": {{"key": "k", "size": 1, "sha256": ""}}}}}}'
            for name in ("a-b/run.journal", "20260131T020000Z-x/a", "20260131T020000Z/..", "/a", "\\u0000/a", "x" * 300)
        ),
    ],
)
def test_parse_of_an_impossible_value_raises(text: str) -> None:
    """A time that is no date, a lease that never ends and a run that cannot be a folder are refused."""
    with pytest.raises(JournalError, match=r"x is not a state of this version of asyncgg \((saved_at|holder|files)"):
        StateDocument.parse(text.encode(), "x")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"\xff", b'{"schema": "asyncgg.state/2"}', b'{"files": {"a/b": {"key": "k"}}}', b"{" * 10_000]
)
def test_parse_of_another_document_raises(data: bytes) -> None:
    """What is not a document of this version is refused, with its location."""
    with pytest.raises(JournalError, match="s3://bucket/prefix"):
        StateDocument.parse(data, "s3://bucket/prefix")
