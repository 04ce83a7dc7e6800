"""Rule: what a night needs before it begins: its guards, the lists of what must stay, the mark of all that decides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from asyncgg.cleanup.keep import load_lists
from asyncgg.cleanup.policy import Policy
from asyncgg.errors import SettingsError
from asyncgg.manifest import ProtectList, load_protect_list
from asyncgg.runs.buckets import s3_opener
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint

__all__ = ["digest_of", "guarded", "lists_of", "stricter"]

T = TypeVar("T", int, float)


def stricter(policy: Policy, settings: Settings) -> Policy:
    """The policy under the guards of the settings as well (a settings file, variables): of two the stricter one counts.

    A guard that somebody has set for all of asyncgg must not be off just because a policy does not name it.

    Raises:
        SettingsError: both expect an account, and not the same one.
        UsageError: the settings' protect list cannot be read whole.
    """
    guards = policy.guards
    if settings.expect_account and guards.expect_account not in {None, settings.expect_account}:
        raise SettingsError(
            f"{policy.path}: the policy expects account {guards.expect_account}, the settings {settings.expect_account}"
        )
    theirs = settings.abort_at is not None and (guards.abort_at is None or settings.abort_at < guards.abort_at)
    guards = replace(
        guards,
        expect_account=guards.expect_account or settings.expect_account,
        max_things=_lesser(guards.max_things, settings.max_things),
        deadline=_lesser(guards.deadline, settings.deadline),
        quota_share=min(guards.quota_share, settings.quota_share),
        abort_at=settings.abort_at if theirs else guards.abort_at,
        abort_after=settings.abort_after if theirs else guards.abort_after,
    )
    if settings.protect is None:
        return replace(policy, guards=guards)
    more = load_protect_list(str(settings.protect)).entries
    return replace(policy, guards=guards, protect=ProtectList(tuple(dict.fromkeys((*policy.protect.entries, *more)))))


def guarded(settings: Settings, policy: Policy) -> Settings:
    """The settings of everything that is sent under this policy; what the clean-up itself guards is left out."""
    guards = policy.guards
    return settings.model_copy(
        update={
            "quota_share": guards.quota_share,
            "expect_account": guards.expect_account,
            "abort_at": guards.abort_at,
            "abort_after": guards.abort_after,
            "deadline": None,
            "max_things": None,
            "protect": None,
            "journal": None,
        }
    )


def lists_of(policy: Policy, settings: Settings, target: Endpoint) -> dict[str, frozenset[str]]:
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


def _lesser(one: T | None, other: T | None) -> T | None:
    return min((value for value in (one, other) if value is not None), default=None)
