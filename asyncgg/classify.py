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
from asyncgg.model import Accepted, Operation, Refused, Reply, Unanswered

__all__ = ["CodeTable", "EntryAction", "Verdict", "classify", "code_and_message"]


class Verdict(Enum):
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
    GONE = "gone"
    """Not associated any more: counts as done, with its code kept. By default no code says this, unless the
    associations had been listed."""
    MISSING = "missing"
    """Says that the thing or the association is not there: final. When disassociating, done for a thing that was sent
    before without a clear answer."""
    ALREADY = "already"
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

_ALREADY = frozenset(
    {
        "alreadyassociated",
        "clientdevicealreadyassociated",
        "associationalreadyexists",
        "alreadyexists",
        "resourcealreadyexists",
        "entityalreadyexists",
    }
)

_NOISE = re.compile(r"[^a-z0-9]")


def _plain(code: str) -> str:
    key = _NOISE.sub("", code.lower())
    for ending in ("exception", "error"):
        if key != ending:
            key = key.removesuffix(ending)
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
        user: Mapping[str, str] | None = None,
        operation: Operation = Operation.DISASSOCIATE,
        *,
        listed: bool = False,
    ) -> None:
        self.operation = operation
        associating = operation is Operation.ASSOCIATE
        self.missing_is_gone = listed and not associating
        """Whether what is not there counts as done, its code kept."""
        self._actions = {code: action for action, codes in _ENTRY_DEFAULTS.items() for code in codes}
        if associating:
            self._actions |= dict.fromkeys(_ALREADY, EntryAction.ALREADY)
        if self.missing_is_gone:
            self._actions |= dict.fromkeys(_ENTRY_DEFAULTS[EntryAction.MISSING], EntryAction.GONE)
        self._proofs = set(_ALREADY if associating else _ENTRY_DEFAULTS[EntryAction.MISSING])
        for code, word in (user or {}).items():
            allowed = ("retry", "fail", "gone")
            if word not in allowed:
                raise SettingsError(f"codes.{code}: {word!r} is not one of {', '.join(allowed)}")
            if not _plain(code):
                raise SettingsError(f"codes: {code!r} is not an error code")
            action = EntryAction(word)
            if action is EntryAction.GONE and associating:
                action = EntryAction.MISSING
            self._actions[_plain(code)] = action
            if action is EntryAction.GONE:
                self._proofs.add(_plain(code))

    def action(self, code: str) -> EntryAction:
        """What to do about a thing with this code."""
        return self._actions.get(_plain(code), EntryAction.UNKNOWN)

    def proves_done(self, code: str) -> bool:
        """Whether this code, said of a thing that was sent before without a clear answer, proves that it is done."""
        return _plain(code) in self._proofs


def classify(reply: Reply, core: str, things: tuple[str, ...]) -> Verdict:
    """What `reply` says about a request for `things` of `core`.

    [errors and their statuses: Greengrass V2 service model; a bare 429 and IoT's 400 with a throttling code too]
    """
    if isinstance(reply, Accepted):
        return Verdict.ACCEPTED
    if isinstance(reply, Unanswered):
        return Verdict.LOST if reply.sent else Verdict.NOT_SENT
    return _refusal(reply, core, things)


def _refusal(reply: Refused, core: str, things: tuple[str, ...]) -> Verdict:
    code = _plain(reply.code)
    if reply.status == 429 or code in _THROTTLING:
        return Verdict.THROTTLED
    if code in _EXPIRED:
        return Verdict.CREDENTIALS_EXPIRED
    if code in _REJECTED:
        return Verdict.CREDENTIALS_REJECTED
    if reply.status >= 500 or reply.status in {408, 409} or code in _TRANSIENT:
        return Verdict.TRANSIENT
    if code == "resourcenotfound":
        named = reply.resource_id
        return Verdict.THING_NAMED if named != core and named in things else Verdict.CORE_MISSING
    if code in _DENIED:
        return Verdict.CORE_DENIED
    if code in _INVALID:
        return Verdict.CORE_INVALID if any("core" in name.lower() for name in reply.fields) else Verdict.INVALID
    return Verdict.REFUSED


def code_and_message(reply: Reply) -> tuple[str, str]:
    """What a failed request says of itself; both empty for an accepted one."""
    if isinstance(reply, Refused):
        return reply.code or str(reply.status), reply.message
    if isinstance(reply, Unanswered):
        return reply.kind, reply.detail
    return "", ""
