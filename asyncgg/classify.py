"""The meaning of a reply: from status and error code to a verdict."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final

from asyncgg.errors import SettingsError
from asyncgg.models import FOREIGN, Accepted, ErrorResponse, NoResponse, Operation, Reply


class ReplyVerdict(Enum):
    """The meaning of a reply for its request."""

    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    """Over the quota and not applied: requeued, and not counted as an attempt."""
    TRANSIENT = "transient"
    """5xx: possibly applied before the failure, so the things become ambiguous."""
    LOST = "lost"
    """No valid response: possibly applied."""
    FOREIGN = "foreign"
    """Answered by something in between: possibly forwarded to the service."""
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


COUNTED: Final = frozenset({ReplyVerdict.TRANSIENT, ReplyVerdict.LOST})
"""The failures that count as an attempt, after which the things are sent again."""


class EntryAction(Enum):
    """The action for a thing whose entry has an error code."""

    RETRY = "retry"
    """Transient: retried up to `max_attempts`."""
    FAIL = "fail"
    """Final."""
    ALREADY = "gone"
    """In the desired state before this request: not found, or associated already."""
    UNKNOWN = "unknown"
    """In no table: retried up to `max_attempts_unknown`."""


class FailureKind(Enum):
    """What can be done about a failed thing, by its code."""

    DENIED = "denied"
    INVALID = "invalid"
    """The service rejects the names."""
    MISSING = "missing"
    """The thing or its core does not exist."""
    THROTTLED = "throttled"
    """The quota was exceeded; a retry can help."""
    OTHER = "other"
    """A retry can help."""


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
_ENTRY_DENIED = _DENIED | {"unauthorized", "401", "403"}
_ENTRY_INVALID = _INVALID | {"400"}
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
    EntryAction.FAIL: _ENTRY_DENIED | _ENTRY_INVALID,
}

_MISSING = frozenset(
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
)

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

    When disassociating, a thing that is not found is done, unless `absent_ok` is false. `gone`
    gives other codes this meaning. When associating, it is a failure.

    >>> CodeTable({"DeviceBusy": "retry"}).action("DEVICE_BUSY")
    <EntryAction.RETRY: 'retry'>
    """

    def __init__(
        self,
        overrides: Mapping[str, str] | None = None,
        operation: Operation = Operation.DISASSOCIATE,
        *,
        absent_ok: bool = True,
        missing_cores_ok: bool = False,
    ) -> None:
        """`missing_cores_ok`: the things of a core that does not exist are done as well."""
        self.operation = operation
        associating = operation is Operation.ASSOCIATE
        self.missing_cores_ok = missing_cores_ok and not associating
        self._confirming_codes = set(_ALREADY_ASSOCIATED if associating else _MISSING)
        self._actions = {code: action for action, codes in _ENTRY_DEFAULTS.items() for code in codes}
        self._actions |= dict.fromkeys(_MISSING, EntryAction.FAIL)
        if associating or absent_ok:
            self._actions |= dict.fromkeys(self._confirming_codes, EntryAction.ALREADY)
        for code, action_name in (overrides or {}).items():
            allowed = ("retry", "fail", "gone")
            if action_name not in allowed:
                raise SettingsError(f"codes.{code}: {action_name!r} must be one of: {', '.join(allowed)}")
            if not _normalize_code(code):
                raise SettingsError(f"codes: {code!r} is not an error code")
            action = EntryAction(action_name)
            if action is EntryAction.ALREADY and associating:
                action = EntryAction.FAIL
            self._actions[_normalize_code(code)] = action

    def action(self, code: str) -> EntryAction:
        """The action for a thing with this code."""
        return self._actions.get(_normalize_code(code), EntryAction.UNKNOWN)

    def is_done(self, code: str, *, ambiguous: bool) -> bool:
        """Whether a thing with this code is in the desired state.

        An `ambiguous` thing that is not found is done in any case: its earlier request was applied.
        """
        return self.action(code) is EntryAction.ALREADY or (
            ambiguous and _normalize_code(code) in self._confirming_codes
        )


def classify(reply: Reply, core: str, things: tuple[str, ...]) -> ReplyVerdict:
    """The verdict on a request for `things` of `core`.

    [Greengrass V2 service model; also a bare 429, and AWS IoT's 400 with a throttling code]
    """
    if isinstance(reply, Accepted):
        return ReplyVerdict.ACCEPTED
    if isinstance(reply, NoResponse):
        if not reply.sent:
            return ReplyVerdict.NOT_SENT
        return ReplyVerdict.FOREIGN if reply.kind == FOREIGN else ReplyVerdict.LOST
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


def failure_kind(code: str) -> FailureKind:
    """What can be done about a thing that failed with this code."""
    code = _normalize_code(code)
    if code in _ENTRY_DENIED:
        return FailureKind.DENIED
    if code in _ENTRY_INVALID:
        return FailureKind.INVALID
    if code in _THROTTLING | {"429"}:
        return FailureKind.THROTTLED
    return FailureKind.MISSING if code in _MISSING else FailureKind.OTHER


def code_and_message(reply: Reply) -> tuple[str, str]:
    """Code and message of a failed request; both empty for an accepted one."""
    if isinstance(reply, ErrorResponse):
        return reply.code or str(reply.status), reply.message
    if isinstance(reply, NoResponse):
        return reply.kind, reply.detail
    return "", ""
