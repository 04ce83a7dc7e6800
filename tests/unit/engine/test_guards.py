"""Abort rules on times that the test supplies."""

from __future__ import annotations

import pytest

from asyncgg.classify import ReplyVerdict
from asyncgg.engine import AbortRules
from asyncgg.models import RunState


def throttle_at(rules: AbortRules, *times: float) -> list[bool]:
    """Record throttles at these times; whether each one stops the run."""
    stops = [rules.record_reply(ReplyVerdict.THROTTLED, "slow down", time) for time in times]
    assert all(stop is None or stop.state is RunState.ABORTED for stop in stops)
    return [stop is not None for stop in stops]


@pytest.mark.parametrize("pause", [0.5, 60.0, 300.0])
def test_record_reply_throttled_for_stall_timeout_stops(pause: float) -> None:
    """A throttled run stops after `stall_timeout`, or at the fifth throttle if that is later."""
    rules = AbortRules(stall_timeout=240.0)
    end = max(240.0, 4 * pause)
    before = [number * pause for number in range(2000) if number * pause < end]
    assert not any(throttle_at(rules, *before))
    assert throttle_at(rules, end) == [True]


def test_record_reply_accepted_restarts_the_stall_timeout() -> None:
    """The stall timeout starts again after an accepted request."""
    rules = AbortRules(stall_timeout=10.0)
    assert not any(throttle_at(rules, *range(10)))
    assert rules.record_reply(ReplyVerdict.ACCEPTED, "", 9.5) is None
    assert not any(throttle_at(rules, *range(11, 21)))
    assert throttle_at(rules, 21.0) == [True]


def test_record_reply_two_distant_throttles_do_not_stop() -> None:
    """Two throttles an hour apart do not stop the run: the machine may have slept between them."""
    assert not any(throttle_at(AbortRules(stall_timeout=300.0), 0.0, 3600.0))


@pytest.mark.parametrize(
    "verdict", [ReplyVerdict.TRANSIENT, ReplyVerdict.LOST, ReplyVerdict.FOREIGN, ReplyVerdict.NOT_SENT]
)
def test_record_reply_outage_stops_after_the_stall_timeout(verdict: ReplyVerdict) -> None:
    """Whatever fails, throttles included, the run stops after `stall_timeout` without an answer."""
    rules = AbortRules(stall_timeout=60.0)
    assert rules.record_reply(ReplyVerdict.ACCEPTED, "", 0.0) is None
    failures = [verdict, ReplyVerdict.THROTTLED, verdict, ReplyVerdict.CREDENTIALS_EXPIRED, verdict, verdict]
    assert not any(rules.record_reply(each, "why", 10.0 * n) for n, each in enumerate(failures, 1))
    stop = rules.record_reply(verdict, "why", 70.0)
    assert stop is not None
    assert (stop.state, stop.is_auth_error) == (RunState.ABORTED, False)
    assert stop.message.startswith("no request accepted in 60 s, 6 failed: why")


@pytest.mark.parametrize(("verdict", "stops"), [(ReplyVerdict.NOT_SENT, True), (ReplyVerdict.LOST, False)])
def test_record_reply_unreachable_from_the_start_stops_early(verdict: ReplyVerdict, stops: bool) -> None:
    """Only if no request ever left, the run stops after five seconds."""
    rules = AbortRules(stall_timeout=300.0)
    assert not any(rules.record_reply(verdict, "why", time) for time in range(5))
    assert (rules.record_reply(verdict, "why", 5.0) is not None) == stops


def test_record_reply_particular_error_does_not_stop() -> None:
    """A batch that alone fails with 5xx is limited by its attempts, not by the stall timeout."""
    rules = AbortRules(stall_timeout=10.0)
    assert not any(rules.record_reply(ReplyVerdict.TRANSIENT, "why", 10.0 * n, particular=True) for n in range(20))
