"""Rule: lists of what must stay live here: what they hold, and that a list which is not whole stops everything."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from asyncgg.cleanup import read_keep_lists
from asyncgg.cleanup.keep_lists import read_keep_list
from asyncgg.cleanup.rules import NotIn
from asyncgg.errors import CredentialsError, ManifestError
from tests.support.cleanup_rules import make_policy


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("keep.txt", b"\xef\xbb\xbf a \r\n\n# none\nb # why\n"),
        ("keep.csv", b'core,thing,note\nc1,a,x\n\nc2,"b",y\nc3,a,z\n'),
        ("keep.csv", b"ThingName\na\nb\n"),
        ("keep.jsonl", b'{"thingName": "a", "core": "c"}\n\n"b"\n'),
        ("keep.csv.gz", gzip.compress(b"thing\na\nb\n", mtime=0)),
    ],
)
def test_a_list_names_things(tmp_path: Path, name: str, content: bytes) -> None:
    """Plain lines, CSV, JSONL, gzip: the things in it, whatever the core."""
    (tmp_path / name).write_bytes(content)
    assert read_keep_list(str(tmp_path / name)) == {"a", "b"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("keep.txt", b"a\nb c\n", ":2: 'b c' is no thing's name: it has characters outside"),
        ("keep.txt", b"a\nsensor-*\n", ":2: 'sensor-\\*' is no thing's name"),
        ("keep.txt", b"a\n\xe4\n", ":2: the list is not UTF-8"),
        ("keep.csv", b"core,name\nc,a\n", ":1: the first line must have one column `thing`"),
        ("keep.csv", b"core,thing\nc,a\nc\n", ":3: the row has no thing"),
        ("keep.csv", b'thing\n"a\n', ":2: the row cannot be read"),
        ("keep.jsonl", b'{"thing": "a"}\n{"thing": 5}\n', ":2: the line has no `thing`"),
        ("keep.jsonl", b'{"thing": "a"\n', ":1: the line is no JSON"),
        ("keep.txt.gz", gzip.compress(b"a\n" * 99, mtime=0)[:-9], "the gzip data is broken or cut off"),
        ("keep.txt", b"PAR1", "is Parquet"),
    ],
)
def test_half_a_list_is_none(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    """A row that cannot be read, or an end that is missing, is an error with file and line."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=words):
        read_keep_list(str(tmp_path / name))


def test_an_empty_or_missing_list_stops_the_clean_up(tmp_path: Path) -> None:
    """With nothing on the list everything could go: refused, unless the policy says that it may be empty."""
    keep = str(tmp_path / "keep.txt")
    with pytest.raises(ManifestError, match="no such file"):
        read_keep_lists(make_policy(NotIn(keep)))
    Path(keep).write_text("# none yet\n")
    with pytest.raises(ManifestError, match="the list of what must stay is empty, so everything could go"):
        read_keep_lists(make_policy(NotIn(keep, allow_empty=True), NotIn(keep)))
    assert read_keep_lists(make_policy(NotIn(keep, allow_empty=True))) == {keep: frozenset()}


def test_a_list_in_s3_that_is_denied_stops_the_clean_up() -> None:
    """What S3 does not give is no empty list."""

    class DeniedS3:
        def open(self, bucket: str, key: str) -> object:
            raise CredentialsError(f"s3://{bucket}/{key}: S3 refused to give it")

    with pytest.raises(CredentialsError, match=r"s3://b/keep\.csv"):
        read_keep_lists(make_policy(NotIn("s3://b/keep.csv")), DeniedS3())  # type: ignore[arg-type]  # it gives nothing
