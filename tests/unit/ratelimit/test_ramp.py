"""The ramp and its plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgg.errors import UsageError
from asyncgg.ratelimit import Ramp, RampPlan


@given(
    st.floats(0.1, 1e6), st.floats(1, 100), st.integers(1, 10**6), st.floats(0.1, 1e9), st.integers(0, 10**9), st.data()
)
def test_per_minute_grows_up_to_the_maximum(
    base: float, factor: float, after: int, maximum: float, done: int, data: st.DataObject
) -> None:
    """The rate never falls with successful things and stays between base and maximum."""
    plan = RampPlan(base, factor, after, maximum)
    rate = plan.per_minute(done)
    assert base <= rate <= max(maximum, base)
    assert plan.per_minute(data.draw(st.integers(0, done))) <= rate
    assert plan.per_minute(0) == base


def test_next_send_at_counts_from_the_allowed_time() -> None:
    """A batch that is sent late does not advance the next one."""
    ramp = Ramp(RampPlan(60, 2, 10))
    ramp.record_sent(30, 100.0)
    assert ramp.next_send_at() == 130.0
    ramp.record_success(10)
    ramp.record_sent(60, 200.0)
    assert ramp.next_send_at() == 230.0


@pytest.mark.parametrize("numbers", [(0, 2, 1), (-1, 2, 1), (float("nan"), 2, 1), (1, 0.5, 1), (1, 2, 0)])
def test_ramp_plan_invalid_number_raises(numbers: tuple[float, float, int]) -> None:
    """Base, factor and step must be valid."""
    with pytest.raises(UsageError):
        RampPlan(*numbers)
