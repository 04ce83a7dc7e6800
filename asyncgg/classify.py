"""The meaning of a reply: from status and error code to a verdict."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from asyncgg.errors import SettingsError
from asyncgg.models import Accepted, ErrorResponse, NoResponse, Operation, Reply


class ReplyVerdict(Enum):
    """The meaning of a reply for its request."""

    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    """Over the quota and not applied: requeued, and not counted as an attempt."""
    TRANSIENT = "transient"
    """5xx: possibly applied before the failure, so the things become ambiguous."""
    LOST = "lost"
    """No valid response: possibly applied."""
    NOT_SENT = "not sent"
    """The request did not reach the service."""
    INVALID = "invalid"
    """An entry is invalid: the batch is split until the invalid entries are alone."""
    CORE_MISSING = "core missing"
    CORE_DENIED = "core denied"
    CORE_INVALID = "core invalid"
    """The error's `fields` name the core as invalid."""
    THING_NAMED = "thing named"
    """The error names one thing: that thing fails, the others are requeued."""
    CREDENTIALS_EXPIRED = "credentials expired"
    CREDENTIALS_REJECTED = "credentials rejected"
    REFUSED = "refused"
    """Refused for a reason outside the service model; a retry would not help."""


class EntryAction(Enum):
    """The action for a thing whose entry has an error code."""

    RETRY = "retry"
    """Transient: retried up to `max_attempts`."""
    FAIL = "fail"
    """Final."""
    ALREADY_DISASSOCIATED = "gone"
    """No longer associated: counts as done. No code has this action by default unless the
    associations were listed before the run."""
    MISSING = "missing"
    """Not found: final, but done when disassociating an ambiguous thing."""
    ALREADY_ASSOCIATED = "already"
    """Associated before this request: counts as done when associating."""
    UNKNOWN = "unknown"
    """In no table: retried up to `max_attempts_unknown`."""


# Codes are compared without case, punctuation and the suffixes `Exception` and `Error`, because AWS
# does not document which form it uses. Codes of whole requests come from the service model; those
# of entries are undocumented, so the tables below are assumptions that `[codes]` can override.
_THROTTLING = frozenset(
    {"throttling", "throttled", "throttledrequest", "toomanyrequests", "requestlimitexceeded", "slowdown"}
)
_EXPIRED = frozenset({"expiredtoken", "expiredtokenid", "tokenrefreshrequired", "requestexpired", "credentialsexpired"})
_REJECTED = frozenset(
    {
        "unrecognizedclient",
        "invalidclienttokenid",
        "invalidsignature",
        "signaturedoesnotmatch",
        "incompletesignature",
        "missingauthenticationtoken",
        "missingauthentication",
        "invalidaccesskeyid",
        "notauthorized",
        "optinrequired",
        "authfailure",
    }
)
_DENIED = frozenset({"accessdenied", "unauthorizedoperation", "forbidden"})
_INVALID = frozenset({"validation", "invalidparameter", "invalidrequest", "serialization"})
_TRANSIENT = frozenset({"internalserver", "internalfailure", "serviceunavailable", "requesttimeout", "conflict"})

_ENTRY_DEFAULTS: Mapping[EntryAction, frozenset[str]] = {
    EntryAction.RETRY: _THROTTLING
    | _TRANSIENT
    | {
        "internal",
        "internalservice",
        "unavailable",
        "timeout",
        "concurrentmodification",
        "conflicting",
        "dependencyfailure",
        "429",
        "409",
        "500",
        "502",
        "503",
        "504",
    },
    EntryAction.FAIL: _DENIED | _INVALID | {"unauthorized", "400", "401", "403"},
    EntryAction.MISSING: frozenset(
        {
            "resourcenotfound",
            "notfound",
            "thingnotfound",
            "clientdevicenotfound",
            "associationnotfound",
            "notassociated",
            "clientdevicenotassociated",
            "nosuchentity",
            "404",
        }
    ),
}

_ALREADY_ASSOCIATED = frozenset(
    {
        "alreadyassociated",
        "clientdevicealreadyassociated",
        "associationalreadyexists",
        "alreadyexists",
        "resourcealreadyexists",
        "entityalreadyexists",
    }
)

_NON_ALPHANUMERIC = re.compile(r"[^a-z0-9]")


def _normalize_code(code: str) -> str:
    key = _NON_ALPHANUMERIC.sub("", code.lower())
    for suffix in ("exception", "error"):
        if key != suffix:
            key = key.removesuffix(suffix)
    return key


class CodeTable:
    """The action for each error code of an entry: the defaults and the user's `overrides`.

    `gone` means success when disassociating and failure when associating.
    `associations_verified`: the associations were listed, so a missing one counts as done.

    >>> CodeTable({"DeviceBusy": "retry"}).action("DEVICE_BUSY")
    <EntryAction.RETRY: 'retry'>
    """

    def __init__(
        self,
        overrides: Mapping[str, str] | None = None,
        operation: Operation = Operation.DISASSOCIATE,
        *,
        associations_verified: bool = False,
    ) -> None:
        self.operation = operation
        associating = operation is Operation.ASSOCIATE
        self.missing_is_done = associations_verified and not associating
        """Whether a missing association counts as done."""
        self._actions = {code: action for action, codes in _ENTRY_DEFAULTS.items() for code in codes}
        if associating:
            self._actions |= dict.fromkeys(_ALREADY_ASSOCIATED, EntryAction.ALREADY_ASSOCIATED)
        if self.missing_is_done:
            self._actions |= dict.fromkeys(_ENTRY_DEFAULTS[EntryAction.MISSING], EntryAction.ALREADY_DISASSOCIATED)
        self._confirming_codes = set(_ALREADY_ASSOCIATED if associating else _ENTRY_DEFAULTS[EntryAction.MISSING])
        for code, action_name in (overrides or {}).items():
            allowed = ("retry", "fail", "gone")
            if action_name not in allowed:
                raise SettingsError(f"codes.{code}: {action_name!r} must be one of: {', '.join(allowed)}")
            if not _normalize_code(code):
                raise SettingsError(f"codes: {code!r} is not an error code")
            action = EntryAction(action_name)
            if action is EntryAction.ALREADY_DISASSOCIATED and associating:
                action = EntryAction.MISSING
            self._actions[_normalize_code(code)] = action
            if action is EntryAction.ALREADY_DISASSOCIATED:
                self._confirming_codes.add(_normalize_code(code))

    def action(self, code: str) -> EntryAction:
        """The action for a thing with this code."""
        return self._actions.get(_normalize_code(code), EntryAction.UNKNOWN)

    def confirms_done(self, code: str) -> bool:
        """Whether this code proves that an ambiguous thing is done."""
        return _normalize_code(code) in self._confirming_codes


def classify(reply: Reply, core: str, things: tuple[str, ...]) -> ReplyVerdict:
    """The verdict on a request for `things` of `core`.

    [Greengrass V2 service model; also a bare 429, and AWS IoT's 400 with a throttling code]
    """
    if isinstance(reply, Accepted):
        return ReplyVerdict.ACCEPTED
    if isinstance(reply, NoResponse):
        return ReplyVerdict.LOST if reply.sent else ReplyVerdict.NOT_SENT
    return _classify_error(reply, core, things)


def _classify_error(reply: ErrorResponse, core: str, things: tuple[str, ...]) -> ReplyVerdict:
    code = _normalize_code(reply.code)
    if reply.status == 429 or code in _THROTTLING:
        return ReplyVerdict.THROTTLED
    if code in _EXPIRED:
        return ReplyVerdict.CREDENTIALS_EXPIRED
    if code in _REJECTED:
        return ReplyVerdict.CREDENTIALS_REJECTED
    if reply.status >= 500 or reply.status in {408, 409} or code in _TRANSIENT:
        return ReplyVerdict.TRANSIENT
    if code == "resourcenotfound":
        resource = reply.resource_id
        return ReplyVerdict.THING_NAMED if resource != core and resource in things else ReplyVerdict.CORE_MISSING
    if code in _DENIED:
        return ReplyVerdict.CORE_DENIED
    if code in _INVALID:
        return (
            ReplyVerdict.CORE_INVALID if any("core" in name.lower() for name in reply.fields) else ReplyVerdict.INVALID
        )
    return ReplyVerdict.REFUSED


def code_and_message(reply: Reply) -> tuple[str, str]:
    """Code and message of a failed request; both empty for an accepted one."""
    if isinstance(reply, ErrorResponse):
        return reply.code or str(reply.status), reply.message
    if isinstance(reply, NoResponse):
        return reply.kind, reply.detail
    return "", ""
