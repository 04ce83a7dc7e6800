"""Rule: what a night needs before it begins: the lists of what must stay, and the mark of all that decides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from asyncgg.cleanup.keep import load_lists
from asyncgg.cleanup.policy import Policy
from asyncgg.errors import SettingsError
from asyncgg.runs.buckets import s3_opener
from asyncgg.settings import Settings
from asyncgg.transport import Target

__all__ = ["digest_of", "lists_of"]


def lists_of(policy: Policy, settings: Settings, target: Target) -> dict[str, frozenset[str]]:
    """The policy's lists, read; blocking. Raises as `load_lists`."""
    wanted = any(one.file.startswith("s3://") for one in policy.lists)
    return load_lists(policy, s3_opener(settings, target) if wanted else None)


def digest_of(policy: Policy, lists: Mapping[str, frozenset[str]]) -> str:
    """The mark of everything that decides what goes: the policy's text, whom it protects, the lists of what must stay.

    A run that was decided under another one is not gone on with: perhaps what it would remove is protected by now.
    Raises `SettingsError` when the policy's file is gone.
    """
    try:
        text = policy.path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{policy.path}: it cannot be read: {error.strerror}") from None
    facts = [sorted(map(str, policy.protect.entries)), {file: sorted(names) for file, names in lists.items()}]
    return hashlib.sha256(text + b"\0" + json.dumps(facts, sort_keys=True).encode()).hexdigest()
