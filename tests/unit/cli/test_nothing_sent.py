"""Tests of what errors say before and after the first request."""

from __future__ import annotations

import pytest

from asyncgg.cli.supervisor import NotStartedError, noting_nothing_sent
from asyncgg.errors import CredentialsError, GuardError, JournalError, UsageError


def notes_of(error: BaseException, *, started: bool) -> list[str]:
    """The notes that the error has after the block."""
    with pytest.raises(type(error)), noting_nothing_sent(lambda: started, but=(JournalError,)):
        raise error
    return getattr(error, "__notes__", [])


def test_error_before_the_first_request_says_that_nothing_was_sent() -> None:
    """Errors that never come later, and those that say it themselves, stay as they are."""
    assert notes_of(CredentialsError("expired"), started=False) == ["nothing was sent"]
    assert notes_of(CredentialsError("expired"), started=True) == []
    for error in (UsageError("x"), GuardError("x"), JournalError("x"), ValueError("x")):
        assert notes_of(error, started=False) == []


def test_signal_before_the_first_request_says_that_nothing_was_sent() -> None:
    """A message that says more is kept; after the first request a signal is one."""
    with pytest.raises(NotStartedError, match=r"^interrupted; nothing was sent$"), noting_nothing_sent():
        raise KeyboardInterrupt
    with pytest.raises(NotStartedError, match="resume the scans"), noting_nothing_sent():
        raise NotStartedError("resume the scans")
    with pytest.raises(KeyboardInterrupt) as raised, noting_nothing_sent(lambda: True):
        raise KeyboardInterrupt
    assert raised.type is KeyboardInterrupt
