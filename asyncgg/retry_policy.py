"""The retry policy: how often a thing is sent and how long it waits."""

# tenacity is called only after a failure, and it does not sleep: the delay goes to the scheduler,
# so that a waiting thing holds no worker.

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    stop_after_attempt,
    wait_exponential,
    wait_random,
    wait_random_exponential,
)
from tenacity.stop import stop_base
from tenacity.wait import wait_base

_MAX_RETRY_AFTER: Final = 300.0
"""Seconds; limits Retry-After, so that one invalid header cannot stop a whole run."""


def equal_jitter(base_delay: float, max_delay: float) -> wait_base:
    """A wait of half the exponential step plus a random part of the other half, so never near zero.

    The first step is `base_delay` seconds. Steps double up to `max_delay`.
    """
    half = wait_exponential(multiplier=base_delay / 2, max=max_delay / 2)
    return half + wait_random_exponential(multiplier=base_delay / 2, max=max_delay / 2)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempts and delays of a run; times in seconds."""

    max_attempts: int = 10
    """Attempts per thing before it fails; throttled attempts do not count."""
    max_attempts_unknown: int = 3
    """Attempts per thing for error codes that are in no table."""
    base_delay: float = 0.5
    max_delay: float = 20.0
    _state: RetryCallState = field(init=False, repr=False, compare=False)
    _wait: wait_base = field(init=False, repr=False, compare=False)
    _stop: stop_base = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.max_attempts < 1 or self.max_attempts_unknown < 1:
            raise ValueError("max_attempts and max_attempts_unknown must be at least 1")
        state = RetryCallState(AsyncRetrying(), None, (), {})
        object.__setattr__(self, "_state", state)
        object.__setattr__(self, "_wait", equal_jitter(self.base_delay, self.max_delay))
        object.__setattr__(self, "_stop", stop_after_attempt(self.max_attempts))

    def exhausted(self, attempts: int, *, unknown: bool = False) -> bool:
        """Whether a thing is not sent again after this many attempts."""
        if unknown and attempts >= self.max_attempts_unknown:
            return True
        return bool(self._stop(self._state_for(attempts)))

    def delay(self, attempts: int, retry_after: float | None = None) -> float:
        """Seconds until the next attempt; `retry_after` takes precedence."""
        if retry_after is not None:
            return min(max(retry_after, 0.0), _MAX_RETRY_AFTER)
        return self._wait(self._state_for(max(attempts, 1)))

    def longest_wait(self, attempts: int, limit: int) -> float:
        """The longest sum of all delays after the next attempt, until `limit` attempts; without Retry-After."""
        steps = range(attempts + 1, limit)
        return sum(min(self.max_delay, self.base_delay * 2.0 ** (step - 1)) for step in steps)

    def throttle_delay(self, round_trip: float, times: int, retry_after: float | None = None) -> float:
        """Seconds until work is sent again that was throttled `times` in a row, last after `round_trip` seconds.

        The limiter paces it, so about one round trip is enough. Doubling it spreads out work that is
        throttled again and again.
        """
        if retry_after is not None:
            return self.delay(1, retry_after)
        step = min(self.max_delay, round_trip * 2.0 ** min(times - 1, 30))
        return wait_random(step / 2, step)(self._state)

    def _state_for(self, attempts: int) -> RetryCallState:
        self._state.attempt_number = attempts
        return self._state
