"""Reads the keep lists (`not-in`) of a policy: things that must stay associated."""

from __future__ import annotations

from pathlib import Path

from asyncgg.cleanup.policy.model import Policy
from asyncgg.errors import ManifestError
from asyncgg.manifest import S3Opener
from asyncgg.manifest.name_lists import read_names


def resolve_path(policy: Path, file: str) -> Path | None:
    """The path of a list relative to the policy's directory; None if the list is in S3."""
    return None if file.startswith("s3://") else policy.parent / file


def read_keep_lists(policy: Policy, s3: S3Opener | None = None) -> dict[str, frozenset[str]]:
    """Read every list of the policy, by the name the policy gives it. Blocking.

    A thing in a list stays on every core. See `read_names` for the formats. Raises `ManifestError`
    if a list cannot be read completely, has an invalid name, or is empty without `allow-empty`, and
    `CredentialsError` if S3 denied access.
    """
    lists: dict[str, frozenset[str]] = {}
    for keep_list in policy.keep_lists:
        spec = str(resolve_path(policy.path, keep_list.file) or keep_list.file)
        if keep_list.file not in lists:
            lists[keep_list.file] = frozenset(read_names(spec, "thing", allow_empty=True, s3=s3))
        if not lists[keep_list.file] and not keep_list.allow_empty:
            raise ManifestError(
                f"{spec}: the keep list is empty, so every thing could be removed; add a name, or write"
                " not-in = { file = ..., allow-empty = true }"
            )
    return lists
