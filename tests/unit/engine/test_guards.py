"""Rule: when a run stops by itself: the guards alone, on times that the test gives."""

from __future__ import annotations

import pytest

from asyncgg.classify import ReplyVerdict
from asyncgg.engine import AbortRules
from asyncgg.models import Operation, RunState


def stop_reasons(rules: AbortRules, *times: float) -> list[str]:
    """The reasons to stop that throttles at these times give."""
    stops = [rules.record_reply(ReplyVerdict.THROTTLED, "core", "slow down", time) for time in times]
    assert all(stop is None or stop.state is RunState.ABORTED for stop in stops)
    return [stop.message for stop in stops if stop]


@pytest.mark.parametrize("pause", [0.5, 60.0, 300.0])
def test_patience_counts_when_the_service_asks_for_long_pauses(pause: float) -> None:
    """Throttled without end, a run ends with its patience, or with the fifth pause if that is later."""
    guards = AbortRules(stall_timeout=240.0)
    ended = max(240.0, 4 * pause)
    before = [number * pause for number in range(2000) if number * pause < ended]
    assert stop_reasons(guards, *before) == []
    assert stop_reasons(guards, ended) == [
        f"throttled {len(before) + 1} times in {ended:.0f} s, nothing accepted: others use up the quota"
    ]


def test_an_accepted_request_renews_the_patience() -> None:
    """One accepted request, and the time without one begins anew."""
    guards = AbortRules(stall_timeout=10.0)
    assert stop_reasons(guards, *range(10)) == []
    assert guards.record_reply(ReplyVerdict.ACCEPTED, "core", "", 9.5) is None
    assert stop_reasons(guards, *range(11, 21)) == []
    assert len(stop_reasons(guards, 21.0)) == 1


def test_a_sleep_is_no_patience() -> None:
    """Two throttles with an hour between them, in which the machine slept, say nothing of the service."""
    assert stop_reasons(AbortRules(stall_timeout=300.0), 0.0, 3600.0) == []


@pytest.mark.parametrize("operation", Operation)
def test_the_permission_that_is_missing_is_named(operation: Operation) -> None:
    """A run that is denied everywhere says which permission its own operation needs."""
    guards = AbortRules(operation=operation)
    guards.record_reply(ReplyVerdict.CORE_DENIED, "core", "AccessDenied", 0.0)
    stop = guards.check_at_end("AccessDenied")
    assert stop is not None
    assert f"grant greengrass:{operation.api}, then resume" in stop.message
