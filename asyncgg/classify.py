"""Rule: what a reply means is decided here: pure functions from the service's words to a verdict.

What is known of requests comes from the service model; what per-entry codes exist is documented nowhere, so they are a
table: ours below, and over it the user's `[codes]`. Codes are compared without case, punctuation and the endings
`Exception` and `Error`, since nothing says which form the service uses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from asyncgg.errors import SettingsError
from asyncgg.models import Accepted, ErrorResponse, NoResponse, Operation, Reply

__all__ = ["CodeTable", "EntryAction", "ReplyVerdict", "classify", "code_and_message"]


class ReplyVerdict(Enum):
    """What one reply says about its request."""

    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    """Not done, over the quota: goes back, no fault of the things."""
    TRANSIENT = "transient"
    """A 5xx. It may have been applied before it failed, so its things become ambiguous."""
    LOST = "lost"
    """No readable answer: it may have been applied."""
    NOT_SENT = "not sent"
    """The service never saw it."""
    INVALID = "invalid"
    """Something in it is not valid: split until the bad entries stand alone."""
    CORE_MISSING = "core missing"
    CORE_DENIED = "core denied"
    CORE_INVALID = "core invalid"
    """The request's own fields name the core as what is not valid."""
    THING_NAMED = "thing named"
    """Refused for one thing that the answer names: that one fails, the others go out again."""
    CREDENTIALS_EXPIRED = "credentials expired"
    CREDENTIALS_REJECTED = "credentials rejected"
    REFUSED = "refused"
    """Refused for a reason outside the service model; trying again would not help."""


class EntryAction(Enum):
    """What becomes of a thing whose entry came back with an error code."""

    RETRY = "retry"
    """A passing reason: tried again, up to `max_attempts`."""
    FAIL = "fail"
    """Final."""
    ALREADY_DISASSOCIATED = "gone"
    """Not associated any more: counts as done, with its code kept. By default no code says this, unless the
    associations had been listed."""
    MISSING = "missing"
    """Says that the thing or the association is not there: final. When disassociating, done for a thing that was sent
    before without a clear answer."""
    ALREADY_ASSOCIATED = "already"
    """Associated before this request: done when associating, with its code kept. Says nothing when disassociating."""
    UNKNOWN = "unknown"
    """In no table: tried again a few times, then final."""


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
    """What each per-entry code leads to in `operation`: the defaults, overruled by the user's own.

    A code that the user calls `gone` is a success of disassociation; when associating it says that it cannot be done.
    `listed`: the associations to be ended were listed before, so one that is missing has gone since, which is no
    failure either.

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
        """Whether what is not there counts as done, its code kept."""
        self._actions = {code: action for action, codes in _ENTRY_DEFAULTS.items() for code in codes}
        if associating:
            self._actions |= dict.fromkeys(_ALREADY_ASSOCIATED, EntryAction.ALREADY_ASSOCIATED)
        if self.missing_is_done:
            self._actions |= dict.fromkeys(_ENTRY_DEFAULTS[EntryAction.MISSING], EntryAction.ALREADY_DISASSOCIATED)
        self._confirming_codes = set(_ALREADY_ASSOCIATED if associating else _ENTRY_DEFAULTS[EntryAction.MISSING])
        for code, action_name in (overrides or {}).items():
            allowed = ("retry", "fail", "gone")
            if action_name not in allowed:
                raise SettingsError(f"codes.{code}: {action_name!r} is not one of {', '.join(allowed)}")
            if not _normalize_code(code):
                raise SettingsError(f"codes: {code!r} is not an error code")
            action = EntryAction(action_name)
            if action is EntryAction.ALREADY_DISASSOCIATED and associating:
                action = EntryAction.MISSING
            self._actions[_normalize_code(code)] = action
            if action is EntryAction.ALREADY_DISASSOCIATED:
                self._confirming_codes.add(_normalize_code(code))

    def action(self, code: str) -> EntryAction:
        """What to do about a thing with this code."""
        return self._actions.get(_normalize_code(code), EntryAction.UNKNOWN)

    def confirms_done(self, code: str) -> bool:
        """Whether this code, said of a thing that was sent before without a clear answer, proves that it is done."""
        return _normalize_code(code) in self._confirming_codes


def classify(reply: Reply, core: str, things: tuple[str, ...]) -> ReplyVerdict:
    """What `reply` says about a request for `things` of `core`.

    [errors and their statuses: Greengrass V2 service model; a bare 429 and IoT's 400 with a throttling code too]
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
    """What a failed request says of itself; both empty for an accepted one."""
    if isinstance(reply, ErrorResponse):
        return reply.code or str(reply.status), reply.message
    if isinstance(reply, NoResponse):
        return reply.kind, reply.detail
    return "", ""
