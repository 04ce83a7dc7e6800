"""Rule: what a night needs before it begins: its guards, the lists of what must stay, the mark of all that decides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from asyncgg.cleanup.keep_lists import read_keep_lists
from asyncgg.cleanup.policy.model import Policy
from asyncgg.errors import SettingsError
from asyncgg.manifest import ProtectList, load_protect_list
from asyncgg.runs.buckets import s3_opener
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint

__all__ = ["effective_settings", "load_keep_lists", "merge_limits", "policy_digest"]

NumberT = TypeVar("NumberT", int, float)


def merge_limits(policy: Policy, settings: Settings) -> Policy:
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
    settings_are_stricter = settings.abort_at is not None and (
        guards.abort_at is None or settings.abort_at < guards.abort_at
    )
    guards = replace(
        guards,
        expect_account=guards.expect_account or settings.expect_account,
        max_things=_min_or_none(guards.max_things, settings.max_things),
        deadline=_min_or_none(guards.deadline, settings.deadline),
        quota_share=min(guards.quota_share, settings.quota_share),
        abort_at=settings.abort_at if settings_are_stricter else guards.abort_at,
        abort_after=settings.abort_after if settings_are_stricter else guards.abort_after,
    )
    if settings.protect is None:
        return replace(policy, guards=guards)
    extra_entries = load_protect_list(str(settings.protect)).entries
    return replace(
        policy, guards=guards, protect=ProtectList(tuple(dict.fromkeys((*policy.protect.entries, *extra_entries))))
    )


def effective_settings(settings: Settings, policy: Policy) -> Settings:
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


def load_keep_lists(policy: Policy, settings: Settings, endpoint: Endpoint) -> dict[str, frozenset[str]]:
    """The policy's lists, read; blocking. Raises as `read_keep_lists`."""
    needs_s3 = any(keep_list.file.startswith("s3://") for keep_list in policy.keep_lists)
    return read_keep_lists(policy, s3_opener(settings, endpoint) if needs_s3 else None)


def policy_digest(policy: Policy, lists: Mapping[str, frozenset[str]]) -> str:
    """The mark of everything that decides what goes: the policy's text, whom it protects, the lists of what must stay.

    A run that was decided under another one is not gone on with: perhaps what it would remove is protected by now.
    Raises `SettingsError` when the policy's file is gone.
    """
    try:
        text = policy.path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{policy.path}: it cannot be read: {error.strerror}") from None
    inputs = [sorted(map(str, policy.protect.entries)), {file: sorted(names) for file, names in lists.items()}]
    return hashlib.sha256(text + b"\0" + json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _min_or_none(first: NumberT | None, second: NumberT | None) -> NumberT | None:
    return min((value for value in (first, second) if value is not None), default=None)
