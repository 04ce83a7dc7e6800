"""Verdicts and entry actions, as tables."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgg.classify import CodeTable, EntryAction, FailureKind, ReplyVerdict, classify, failure_kind
from asyncgg.errors import SettingsError
from asyncgg.models import Accepted, EntryError, ErrorResponse, NoResponse, Operation, Reply

CORE = "gateway"
THINGS = ("a", "b", "c")


def error_response(status: int, code: str, **members: Any) -> ErrorResponse:
    """An error response with any message."""
    return ErrorResponse(status, code, "words", **members)


REPLIES: list[tuple[Reply, ReplyVerdict]] = [
    (Accepted(), ReplyVerdict.ACCEPTED),
    (Accepted((EntryError("a", "Whatever", ""),)), ReplyVerdict.ACCEPTED),
    (NoResponse("timeout", "", sent=True), ReplyVerdict.LOST),
    (NoResponse("connect", "", sent=False), ReplyVerdict.NOT_SENT),
    (NoResponse("foreign", "", sent=True), ReplyVerdict.FOREIGN),
    # over the quota, in each of its forms
    (error_response(429, "ThrottlingException"), ReplyVerdict.THROTTLED),
    (error_response(429, "429"), ReplyVerdict.THROTTLED),
    (error_response(429, "AccessDeniedException"), ReplyVerdict.THROTTLED),
    (error_response(400, "ThrottlingException"), ReplyVerdict.THROTTLED),
    (error_response(400, "Throttling"), ReplyVerdict.THROTTLED),
    (error_response(400, "TooManyRequestsException"), ReplyVerdict.THROTTLED),
    (error_response(503, "SlowDown"), ReplyVerdict.THROTTLED),
    (error_response(400, "RequestLimitExceeded"), ReplyVerdict.THROTTLED),
    # credentials
    (error_response(403, "ExpiredTokenException"), ReplyVerdict.CREDENTIALS_EXPIRED),
    (error_response(400, "ExpiredToken"), ReplyVerdict.CREDENTIALS_EXPIRED),
    (error_response(403, "RequestExpired"), ReplyVerdict.CREDENTIALS_EXPIRED),
    (error_response(403, "UnrecognizedClientException"), ReplyVerdict.CREDENTIALS_REJECTED),
    (error_response(403, "InvalidSignatureException"), ReplyVerdict.CREDENTIALS_REJECTED),
    (error_response(403, "SignatureDoesNotMatch"), ReplyVerdict.CREDENTIALS_REJECTED),
    (error_response(403, "MissingAuthenticationTokenException"), ReplyVerdict.CREDENTIALS_REJECTED),
    (error_response(403, "MissingAuthenticationToken"), ReplyVerdict.CREDENTIALS_REJECTED),
    (error_response(403, "OptInRequired"), ReplyVerdict.CREDENTIALS_REJECTED),
    # passing
    (error_response(500, "InternalServerException"), ReplyVerdict.TRANSIENT),
    (error_response(500, "InternalFailure"), ReplyVerdict.TRANSIENT),
    (error_response(502, "502"), ReplyVerdict.TRANSIENT),
    (error_response(503, "ServiceUnavailable"), ReplyVerdict.TRANSIENT),
    (error_response(504, ""), ReplyVerdict.TRANSIENT),
    (error_response(599, "NeverHeardOf"), ReplyVerdict.TRANSIENT),
    (error_response(408, "408"), ReplyVerdict.TRANSIENT),
    (error_response(400, "RequestTimeoutException"), ReplyVerdict.TRANSIENT),
    (error_response(409, "ConflictException"), ReplyVerdict.TRANSIENT),
    # the core, or one thing
    (error_response(404, "ResourceNotFoundException", resource_id=CORE), ReplyVerdict.CORE_MISSING),
    (error_response(404, "ResourceNotFoundException"), ReplyVerdict.CORE_MISSING),
    (error_response(404, "ResourceNotFoundException", resource_id="other"), ReplyVerdict.CORE_MISSING),
    (error_response(404, "ResourceNotFoundException", resource_id="b"), ReplyVerdict.THING_NAMED),
    (error_response(403, "AccessDeniedException"), ReplyVerdict.CORE_DENIED),
    (error_response(403, "AccessDenied"), ReplyVerdict.CORE_DENIED),
    (error_response(400, "ValidationException"), ReplyVerdict.INVALID),
    (error_response(400, "ValidationException", fields=("entries",)), ReplyVerdict.INVALID),
    (error_response(400, "ValidationException", fields=("coreDeviceThingName",)), ReplyVerdict.CORE_INVALID),
    (error_response(400, "ValidationException", fields=("entries", "CoreDeviceThingName")), ReplyVerdict.CORE_INVALID),
    (error_response(400, "SerializationException"), ReplyVerdict.INVALID),
    # outside the service model
    (error_response(404, "404"), ReplyVerdict.REFUSED),
    (error_response(403, "403"), ReplyVerdict.REFUSED),
    (error_response(301, ""), ReplyVerdict.REFUSED),
    (error_response(400, "SomethingNew"), ReplyVerdict.REFUSED),
]


@pytest.mark.parametrize(("reply", "verdict"), REPLIES, ids=lambda value: str(value)[:60])
def test_classify_returns_verdict(reply: Reply, verdict: ReplyVerdict) -> None:
    """Each kind of reply has its verdict."""
    assert classify(reply, CORE, THINGS) is verdict


def test_classify_not_found_of_equal_names_is_the_core() -> None:
    """If a thing has the name of its core, "not found" applies to the core."""
    reply = error_response(404, "ResourceNotFoundException", resource_id=CORE)
    assert classify(reply, CORE, (CORE, "a")) is ReplyVerdict.CORE_MISSING


@pytest.mark.parametrize(
    ("code", "action"),
    [
        ("ThrottlingException", EntryAction.RETRY),
        ("InternalServerException", EntryAction.RETRY),
        ("InternalServerError", EntryAction.RETRY),
        ("INTERNAL_ERROR", EntryAction.RETRY),
        ("503", EntryAction.RETRY),
        ("ConflictException", EntryAction.RETRY),
        ("AccessDeniedException", EntryAction.FAIL),
        ("ValidationException", EntryAction.FAIL),
        ("UNAUTHORIZED", EntryAction.FAIL),
        ("403", EntryAction.FAIL),
        ("ResourceNotFoundException", EntryAction.ALREADY),
        ("resource-not-found", EntryAction.ALREADY),
        ("NOT_FOUND", EntryAction.ALREADY),
        ("404", EntryAction.ALREADY),
        ("", EntryAction.UNKNOWN),
        ("Error", EntryAction.UNKNOWN),
        ("DeviceBusy", EntryAction.UNKNOWN),
    ],
)
def test_action_default_codes(code: str, action: EntryAction) -> None:
    """Known codes have an action in any spelling; the others are unknown."""
    assert CodeTable().action(code) is action
    assert CodeTable().is_done(code, ambiguous=True) == (action is EntryAction.ALREADY)


@pytest.mark.parametrize("code", ["AlreadyAssociated", "RESOURCE_ALREADY_EXISTS", "EntityAlreadyExistsException"])
def test_action_already_associated_only_when_associating(code: str) -> None:
    """These codes are unknown when disassociating."""
    assert CodeTable(operation=Operation.ASSOCIATE).action(code) is EntryAction.ALREADY
    assert CodeTable().action(code) is EntryAction.UNKNOWN
    assert not CodeTable().is_done(code, ambiguous=True)


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "NOT_ASSOCIATED", "404"])
def test_not_found_is_done_unless_absent_things_fail(code: str) -> None:
    """A thing that is not found is done, whether it was sent before or not; strictly, only if it was."""
    strict = CodeTable(absent_ok=False)
    assert [CodeTable().is_done(code, ambiguous=ambiguous) for ambiguous in (False, True)] == [True, True]
    assert [strict.is_done(code, ambiguous=ambiguous) for ambiguous in (False, True)] == [False, True]
    assert strict.action(code) is EntryAction.FAIL


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "DeviceDeleted"])
def test_not_found_and_codes_overridden_as_gone_fail_when_associating(code: str) -> None:
    """What does not exist cannot be associated, whatever the settings say."""
    table = CodeTable({"DeviceDeleted": "gone"}, Operation.ASSOCIATE, missing_cores_ok=True)
    assert table.action(code) is EntryAction.FAIL
    assert not table.is_done(code, ambiguous=True)
    assert not table.missing_cores_ok


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDeniedException", FailureKind.DENIED),
        ("403", FailureKind.DENIED),
        ("ValidationException", FailureKind.INVALID),
        ("INVALID_REQUEST", FailureKind.INVALID),
        ("ResourceNotFoundException", FailureKind.MISSING),
        ("404", FailureKind.MISSING),
        ("ThrottlingException", FailureKind.THROTTLED),
        ("503", FailureKind.OTHER),
        ("timeout", FailureKind.OTHER),
        ("DeviceBusy", FailureKind.OTHER),
        ("", FailureKind.OTHER),
    ],
)
def test_failure_kind_says_what_can_be_done(code: str, kind: FailureKind) -> None:
    """Only a cause that can pass by itself is worth a retry at once."""
    assert failure_kind(code) is kind


@given(
    words=st.lists(st.sampled_from(["Device", "Is", "Busy", "2"]), min_size=1, max_size=4),
    joint=st.sampled_from(["", "_", "-", " ", "."]),
    ending=st.sampled_from(["", "Exception", "Error", "_EXCEPTION", "-error", "ErrorException"]),
    spell=st.sampled_from([str, str.upper, str.lower]),
)
def test_action_ignores_spelling(words: list[str], joint: str, ending: str, spell: Any) -> None:
    """A code of the user is found in any case and with any punctuation and suffix."""
    table = CodeTable({"".join(words): "gone"})
    assert table.action(spell(joint.join(words) + ending)) is EntryAction.ALREADY


@pytest.mark.parametrize(("word", "action"), [("retry", "RETRY"), ("fail", "FAIL"), ("gone", "ALREADY")])
def test_action_override_takes_precedence(word: str, action: str) -> None:
    """The overrides take precedence over the defaults."""
    table = CodeTable({"ThrottlingException": word, "DeviceBusy": word})
    assert table.action("Throttling") is EntryAction[action]
    assert table.action("DEVICE_BUSY") is EntryAction[action]
    assert table.is_done("devicebusy", ambiguous=True) == (word == "gone")


@pytest.mark.parametrize("word", ["missing", "unknown", "Retry", "", "ignore"])
def test_code_table_invalid_action_raises(word: str) -> None:
    """The message names the code and the invalid action."""
    with pytest.raises(SettingsError) as caught:
        CodeTable({"DeviceBusy": word})
    assert str(caught.value) == f"codes.DeviceBusy: {word!r} must be one of: retry, fail, gone"


@pytest.mark.parametrize("code", ["", "---", "\u00e9"])
def test_code_table_invalid_code_raises(code: str) -> None:
    """A code without a letter or digit is invalid."""
    with pytest.raises(SettingsError) as caught:
        CodeTable({code: "retry"})
    assert str(caught.value) == f"codes: {code!r} is not an error code"
