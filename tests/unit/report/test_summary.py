"""The summary as an object and as lines."""

from __future__ import annotations

import pytest

from asyncgg.formatting import format_duration
from asyncgg.models import Operation, RunState, Summary
from asyncgg.report import EXIT_CODES, format_summary, summary_to_dict
from asyncgg.report.summary import next_commands

SUMMARY = Summary(
    run="r",
    journal="my run.journal",
    state=RunState.PARTIAL,
    total=2_000,
    disassociated=1_990,
    failed=10,
    pending=0,
    rejected=1,
    sent=25,
    minimum=20,
    seconds=2.0,
    failures={"AnException": 9, "": 1},
)


def test_the_lines_have_every_figure() -> None:
    """A person sees things, what was left out, requests, time with the rate, failures by code, and the journal."""
    assert format_summary(SUMMARY, reason="because") == [
        "partial: every thing has an outcome, some failed: because",
        "  things     1,990 of 2,000 disassociated, 10 failed",
        "  left out   1 bad rows",
        "  requests   25 sent (20 at least), 0 throttled, 0 retried",
        "  time       2.0 s, 12.5 requests/s",
        "  failures   AnException  9",
        "             (no code)    1",
        "  journal    my run.journal",
    ]


def test_many_codes_are_cut() -> None:
    """Beyond ten codes only their number is told."""
    many = format_summary(Summary("r", "j", RunState.PARTIAL, 1, 0, 1, 0, failures={f"C{n:02}": 1 for n in range(15)}))
    assert "             and 5 more codes" in many


def test_the_object_says_exit_and_reason_only_when_known() -> None:
    """`exit` and `reason` are left out where nothing ended."""
    assert "exit" not in summary_to_dict(SUMMARY)
    assert "reason" not in summary_to_dict(SUMMARY, exit_code=3)
    assert summary_to_dict(SUMMARY, exit_code=3, reason="x")["exit"] == 3


def test_the_next_commands_can_be_pasted() -> None:
    """A journal's path is quoted for the shell; pending things are resumed before failed ones are retried."""
    assert next_commands(SUMMARY) == [
        "asyncgg report 'my run.journal' --failures failures.csv",
        "asyncgg retry 'my run.journal'",
    ]
    assert next_commands(Summary("r", "j", RunState.ABORTED, 2, 0, 1, 1)) == [
        "asyncgg resume j",
        "asyncgg report j --failures failures.csv",
    ]
    assert next_commands(Summary("r", "j", RunState.COMPLETE, 1, 1, 0, 0)) == []


def test_every_state_has_an_exit_code_and_a_sentence() -> None:
    """No state is forgotten in either table."""
    for state in RunState:
        assert EXIT_CODES[state] in {0, 3, 4, 10, 130}
        assert format_summary(Summary("r", "j", state, 0, 0, 0, 0))[0]


def test_an_associating_run_speaks_of_association() -> None:
    """Its sentence, its figures and the key of its number say "associated"; the rest is as for any run."""
    summary = Summary("r", "j", RunState.COMPLETE, 2, 2, 0, 0, operation=Operation.ASSOCIATE)
    assert format_summary(summary)[:2] == [
        "complete: every thing is associated",
        "  things     2 of 2 associated, 0 failed",
    ]
    document = summary_to_dict(summary)
    assert (document["operation"], document["things"]["associated"]) == ("associate", 2)
    assert "disassociated" not in document["things"]
    assert summary_to_dict(SUMMARY)["operation"] == "disassociate"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (60.0, "1 min 00 s"), (3599.6, "1 h 00 min"), (45_000, "12 h 30 min")],
)
def test_durations(seconds: float, text: str) -> None:
    """Tenths below a minute, seconds below an hour, minutes beyond; never sixty of anything."""
    assert format_duration(seconds) == text
