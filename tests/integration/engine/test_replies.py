"""The sanitizing of service texts for journal, events and people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from asyncgg.engine import Engine, EngineOptions, Lane
from asyncgg.engine.replies import sanitize_reply
from asyncgg.events import Event
from asyncgg.journal import JournalWriter
from asyncgg.models import Accepted, EntryError, ErrorResponse, NoResponse, Reply, RunState
from asyncgg.testing import FixedRate
from tests.support.engine import create_journal

TOKEN = "FwoGZXIvYXdzEXAMPLE/token+=="
CANONICAL = f"The Canonical String should have been\n'POST\nhost:example\nx-amz-security-token:{TOKEN}\n\nhost'"


class FixedReplyTransport:
    """A transport that returns the same reply to every request."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    async def send(self, core: str, things: Sequence[str]) -> Reply:
        """Return the reply."""
        return self.reply


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Thing  é-1 is not there…", "Thing  é-1 is not there…"),
        (CANONICAL, "The Canonical String should have been 'POST host:example x-amz-security-token:*** host'"),
        ("X-Amz-Security-Token=abc%2F&X-Amz-Date=1", "X-Amz-Security-Token=***&X-Amz-Date=1"),
        ("a\x1b[31mb\x00c\u202ed\r\ne", r"a\x1b[31mb\x00c\u202ed e"),
        ("z" * 50_000, "z" * 999 + "…"),
        ("", ""),
    ],
)
def test_sanitize_reply_removes_unsafe_text(text: str, expected: str) -> None:
    """No token, control character, line end or long text passes in any member."""
    error = EntryError("t", text, text)
    assert sanitize_reply(Accepted((error,), "r")) == Accepted((EntryError("t", expected, expected),), "r")
    assert sanitize_reply(ErrorResponse(403, text, text, "r", 1.0)) == ErrorResponse(403, expected, expected, "r", 1.0)
    assert sanitize_reply(NoResponse("reset", text, sent=True)) == NoResponse("reset", expected, sent=True)


@pytest.mark.virtual
async def test_run_wrong_signature_hides_the_session_token(tmp_path: Path) -> None:
    """AWS quotes the session token in this error; reason, events and journal do not contain it."""
    path = create_journal(tmp_path / "j", [("core", "thing")])
    events: list[Event] = []
    journal = JournalWriter(path, threaded=False)
    try:
        await journal.submit(lambda store: store.begin_resume())
        transport = FixedReplyTransport(ErrorResponse(403, "InvalidSignatureException", CANONICAL))
        lane = Lane(transport, FixedRate(10.0))
        result = await Engine(journal, lane, EngineOptions(), [events.append]).run()
    finally:
        journal.close()
    assert result.state is RunState.ABORTED
    assert "x-amz-security-token:***" in result.reason
    assert TOKEN not in result.reason + repr(events)
    assert TOKEN.encode() not in path.read_bytes()
