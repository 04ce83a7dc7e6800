"""Tests of the keep lists of a policy. Their formats are tested in unit/manifest/test_name_lists.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.cleanup.context import read_keep_lists
from asyncgg.cleanup.rules.conditions import NotIn
from asyncgg.errors import CredentialsError, ManifestError
from tests.support.cleanup_rules import make_policy


def test_read_keep_lists_empty_list_raises(tmp_path: Path) -> None:
    """An empty list could remove every thing: an error unless the policy allows an empty list."""
    keep = str(tmp_path / "keep.txt")
    with pytest.raises(ManifestError, match="no such file"):
        read_keep_lists(make_policy(NotIn(keep)))
    Path(keep).write_text("# none yet\n")
    with pytest.raises(ManifestError, match="the keep list is empty"):
        read_keep_lists(make_policy(NotIn(keep, allow_empty=True), NotIn(keep)))
    assert read_keep_lists(make_policy(NotIn(keep, allow_empty=True))) == {keep: frozenset()}


def test_read_keep_lists_denied_by_s3_raises() -> None:
    """A list that S3 denies is not an empty list."""

    class DeniedS3:
        def open(self, bucket: str, key: str) -> object:
            raise CredentialsError(f"s3://{bucket}/{key}: access denied")

    with pytest.raises(CredentialsError, match=r"s3://b/keep\.csv"):
        read_keep_lists(make_policy(NotIn("s3://b/keep.csv")), DeniedS3())  # type: ignore[arg-type]  # never returns
