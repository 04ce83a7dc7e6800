"""Abort rules on times that the test supplies."""

from __future__ import annotations

import pytest

from asyncgg.classify import ReplyVerdict
from asyncgg.engine import AbortRules
from asyncgg.models import RunState


def throttle_at(rules: AbortRules, *times: float) -> list[bool]:
    """Record throttles at these times; whether each one stops the run."""
    stops = [rules.record_reply(ReplyVerdict.THROTTLED, "core", "slow down", time) for time in times]
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
    assert rules.record_reply(ReplyVerdict.ACCEPTED, "core", "", 9.5) is None
    assert not any(throttle_at(rules, *range(11, 21)))
    assert throttle_at(rules, 21.0) == [True]


def test_record_reply_two_distant_throttles_do_not_stop() -> None:
    """Two throttles an hour apart do not stop the run: the machine may have slept between them."""
    assert not any(throttle_at(AbortRules(stall_timeout=300.0), 0.0, 3600.0))


def test_check_at_end_denied_everywhere_names_the_remedy() -> None:
    """A run whose only core is denied stops with an authorization error and the remedy."""
    rules = AbortRules(remedy="grant greengrass:X")
    assert rules.record_reply(ReplyVerdict.CORE_DENIED, "core", "AccessDenied", 0.0) is None
    stop = rules.check_at_end("AccessDenied")
    assert stop is not None
    assert stop.is_auth_error
    assert stop.message.endswith("AccessDenied; grant greengrass:X")
