"""Tests of asyncgg.report.summary."""

from __future__ import annotations

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


def test_format_summary_has_all_counts() -> None:
    """The lines have things, excluded rows, requests, time, failures by code and the journal."""
    assert format_summary(SUMMARY, reason="because") == [
        "completed with failures: because",
        "  things     1,990 of 2,000 disassociated, 10 failed",
        "  excluded   1 bad rows",
        "  requests   25 sent (20 minimum), 0 throttled, 0 retried",
        "  time       2.0 s, 12.5 requests/s",
        "  failures   AnException  9",
        "             (no code)    1",
        "  journal    my run.journal",
    ]


def test_format_summary_many_codes_shows_ten() -> None:
    """Above ten codes only their number is shown."""
    many = format_summary(Summary("r", "j", RunState.PARTIAL, 1, 0, 1, 0, failures={f"C{n:02}": 1 for n in range(15)}))
    assert "             and 5 more codes" in many


def test_summary_to_dict_exit_and_reason_are_optional() -> None:
    """`exit` and `reason` are missing if they are unknown."""
    assert "exit" not in summary_to_dict(SUMMARY)
    assert "reason" not in summary_to_dict(SUMMARY, exit_code=3)
    assert summary_to_dict(SUMMARY, exit_code=3, reason="x")["exit"] == 3


def test_next_commands_quote_journal_and_resume_first() -> None:
    """The path is quoted for the shell, and `resume` comes before `retry`."""
    assert next_commands(SUMMARY) == [
        "asyncgg report 'my run.journal' --failures failures.csv",
        "asyncgg retry 'my run.journal'",
    ]
    assert next_commands(Summary("r", "j", RunState.ABORTED, 2, 0, 1, 1)) == [
        "asyncgg resume j",
        "asyncgg report j --failures failures.csv",
    ]
    assert next_commands(Summary("r", "j", RunState.COMPLETE, 1, 1, 0, 0)) == []


def test_every_state_has_exit_code_and_label() -> None:
    """Both tables have all states."""
    for state in RunState:
        assert EXIT_CODES[state] in {0, 3, 4, 10, 130}
        assert format_summary(Summary("r", "j", state, 0, 0, 0, 0))[0]


def test_format_summary_associate_uses_its_participle() -> None:
    """Text and JSON key of an associating run say "associated"."""
    summary = Summary("r", "j", RunState.COMPLETE, 2, 2, 0, 0, operation=Operation.ASSOCIATE)
    assert format_summary(summary)[:2] == [
        "complete: every thing is associated",
        "  things     2 of 2 associated, 0 failed",
    ]
    document = summary_to_dict(summary)
    assert (document["operation"], document["things"]["associated"]) == ("associate", 2)
    assert "disassociated" not in document["things"]
    assert summary_to_dict(SUMMARY)["operation"] == "disassociate"
