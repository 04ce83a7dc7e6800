"""Tests of asyncgg.report.summary."""

from __future__ import annotations

from dataclasses import replace

import pytest

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


DENIED, INVALID, MISSING = "AccessDeniedException", "ValidationException", "ResourceNotFoundException"
STATEMENT = '{"Effect": "Allow", "Action": "greengrass:BatchDisassociateClientDeviceFromCoreDevice", "Resource": "*"}'
QUOTA = "# throttled: retry with a lower --quota-share; the quota is greengrass L-7A577824 in AWS Service Quotas"
COUNT_AS_DONE = "--absent ok and --missing-cores ok count these things as done"
REPORT, RESUME, RETRY = "asyncgg report j --failures failures.csv", "asyncgg resume j", "asyncgg retry j"


@pytest.mark.parametrize(
    ("exit_code", "codes", "pending", "expected"),
    [
        (3, [DENIED], 0, [f"# access denied: add to the IAM policy {STATEMENT}", REPORT, RETRY]),
        (5, [DENIED], 9, [f"# access denied: add to the IAM policy {STATEMENT}", REPORT, RESUME, RETRY]),
        (5, [], 9, [f"# renew the credentials, or if access was denied: add to the IAM policy {STATEMENT}", RESUME]),
        (3, ["ThrottlingException"], 0, [QUOTA, REPORT, RETRY]),
        (3, ["503", "timeout"], 0, [REPORT, RETRY]),
        (3, ["DeviceBusy", ""], 0, [REPORT, RETRY]),
        (3, [INVALID], 0, ["# correct the rows that the service rejects as invalid, or remove them", REPORT]),
        (
            4,
            [MISSING],
            9,
            [
                f"# not found: check account, Region and list; {COUNT_AS_DONE}",
                REPORT,
                RESUME,
            ],
        ),
        (10, [], 9, [RESUME]),
        (130, ["503"], 9, [REPORT, RESUME, RETRY]),
    ],
)
def test_next_commands_follow_from_the_codes(
    exit_code: int, codes: list[str], pending: int, expected: list[str]
) -> None:
    """No command is suggested that cannot help: what is not found or invalid is not retried."""
    state = {0: RunState.COMPLETE, 3: RunState.PARTIAL, 10: RunState.DEADLINE, 130: RunState.INTERRUPTED}
    failures = dict.fromkeys(codes, 2)
    summary = Summary(
        "r",
        "j",
        state.get(exit_code, RunState.ABORTED),
        2 * len(codes) + pending,
        0,
        2 * len(codes),
        pending,
        failures=failures,
    )
    assert next_commands(summary, exit_code) == expected
    assert summary_to_dict(summary, exit_code=exit_code)["next"] == expected


def test_next_commands_after_success_prove_report_and_undo() -> None:
    """`undo` is suggested only for a run that listed its associations and changed some."""
    done = Summary("r", "my run.journal", RunState.COMPLETE, 2, 1, 0, 0, already=1)
    proof = ["asyncgg verify 'my run.journal'", "asyncgg report 'my run.journal' --html report.html"]
    assert next_commands(done, 0) == proof
    assert next_commands(replace(done, undoable=True), 0) == [*proof, "asyncgg undo 'my run.journal'"]
    assert next_commands(replace(done, undoable=True, disassociated=0, already=2), 0) == proof
    assert next_commands(replace(done, total=0, disassociated=0, already=0), 0) == []
    assert next_commands(replace(done, state=RunState.RUNNING, pending=1)) == []
    assert next_commands(replace(SUMMARY, operation=Operation.ASSOCIATE, failures={MISSING: 1}))[0] == (
        "# not found: these things or cores do not exist any more"
    )


def test_format_summary_asks_when_every_thing_was_absent() -> None:
    """A list for another account or Region succeeds as well, so the summary asks."""
    absent = Summary("r", "j", RunState.COMPLETE, 3, 0, 0, 0, already=3)
    question = "nothing was disassociated, every thing was absent: are account, Region and list right?"
    lines = format_summary(absent)
    assert lines[:2] == [
        "complete: nothing left to disassociate",
        "  things     0 of 3 disassociated, 3 already, 0 failed",
    ]
    assert f"  warning    {question}" in lines
    assert summary_to_dict(absent)["warnings"] == [question]
    others = [
        replace(absent, disassociated=1, already=2),
        replace(absent, total=4, failed=1),
        replace(absent, total=0, already=0),
        replace(absent, operation=Operation.ASSOCIATE),
    ]
    for other in others:
        assert summary_to_dict(other)["warnings"] == []
        assert "warning" not in "".join(format_summary(other))


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
