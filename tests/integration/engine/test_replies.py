"""Rule: what of the service's words may go on to journal, events and people."""

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
    """A transport that gives one answer to everything."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    async def send(self, core: str, things: Sequence[str]) -> Reply:
        """Answer."""
        return self.reply


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Thing  é-1 is not there…", "Thing  é-1 is not there…"),
        (CANONICAL, "The Canonical String should have been 'POST host:example x-amz-security-token:*** host'"),
        ("X-Amz-Security-Token=abc%2F&X-Amz-Date=1", "X-Amz-Security-Token=***&X-Amz-Date=1"),
        ("a\x1b[31mb\x00c\u202ed\r\ne", r"a\x1b[31mb\x00c\u202ed e"),
        ("z" * 50_000, "z" * 999 + "…"),
        ("", ""),
    ],
)
def test_words_are_made_fit(said: str, kept: str) -> None:
    """Tokens, control characters, line ends and endless texts do not pass, whichever member of a reply holds them."""
    error = EntryError("t", said, said)
    assert sanitize_reply(Accepted((error,), "r")) == Accepted((EntryError("t", kept, kept),), "r")
    assert sanitize_reply(ErrorResponse(403, said, said, "r", 1.0)) == ErrorResponse(403, kept, kept, "r", 1.0)
    assert sanitize_reply(NoResponse("reset", said, sent=True)) == NoResponse("reset", kept, sent=True)


@pytest.mark.virtual
async def test_a_wrong_signature_gives_no_token_away(tmp_path: Path) -> None:
    """AWS's answer to a wrong signature quotes the session token; neither reason, events nor journal repeat it."""
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
