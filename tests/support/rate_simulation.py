"""A lane on virtual time: the real bucket and a policy against a service with a quota."""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from asyncgg.ratelimit.bucket import TokenBucket
from asyncgg.ratelimit.limiter import RatePolicy
from asyncgg.testing import run_virtual


class ServiceBucket:
    """The token bucket of the service, independent of `TokenBucket`."""

    def __init__(self, burst: float) -> None:
        self.burst, self.tokens, self.updated_at = burst, burst, 0.0

    def try_accept(self, now: float, rate: float) -> bool:
        """Whether a request at `now` is accepted, with tokens refilled at `rate` since the last
        one."""
        self.tokens = min(self.burst, self.tokens + (now - self.updated_at) * rate)
        self.updated_at = now
        if self.tokens < 1 - 1e-9:
            return False
        self.tokens -= 1
        return True


@dataclass(frozen=True, slots=True)
class RunCase:
    """One simulated run."""

    quota: float
    ceiling: float
    burst: float = 5
    """Burst of the service, in requests."""
    requests: int = 1000
    retry_after: float | None = None
    latency: float = 0.06
    jitter: float = 0.0
    """Each way takes latency / 2 plus or minus this, in seconds."""
    workers: int = 64
    seed: int = 0
    background_rate: Callable[[float], float] = lambda _: 0.0
    """Requests per second of other clients, as a function of the time since the start."""
    refused_arrivals: frozenset[int] = frozenset()
    """Numbers, from 1, of the arrivals that get a spurious throttle."""


@dataclass(slots=True)
class SimulatedRun:
    """The result of a run."""

    ratio: float = 0.0
    """Makespan over requests / quota."""
    sent: int = 0
    throttled: int = 0
    lowest_rate: float = math.inf
    rates: list[tuple[float, float]] = field(default_factory=list)
    """Time since the start and the rate, at each reply."""

    @property
    def throttled_share(self) -> float:
        """Throttled requests as a part of those sent."""
        return self.throttled / self.sent

    def rate_at(self, when: float) -> float:
        """The rate at this time since the start."""
        return next((rate for at, rate in reversed(self.rates) if at <= when), math.nan)


def simulate(case: RunCase, policy: RatePolicy) -> SimulatedRun:
    """Run the case to its end; deterministic."""
    return run_virtual(_run(case, policy))


async def _run(case: RunCase, policy: RatePolicy) -> SimulatedRun:
    loop = asyncio.get_running_loop()
    rng = random.Random(case.seed)
    service = ServiceBucket(case.burst)
    bucket = TokenBucket(policy.rate, policy.burst)
    result = SimulatedRun()
    arrivals = 0
    started_at = loop.time()
    attempts = deque([1] * case.requests)  # including the current one
    wake = asyncio.Semaphore(case.requests)
    remaining = case.requests

    def one_way_latency() -> float:
        return max(0.0, case.latency / 2 + rng.uniform(-case.jitter, case.jitter))

    def retry(tries: int) -> None:
        attempts.append(tries)
        wake.release()

    async def worker() -> None:
        nonlocal remaining, arrivals
        while remaining:
            await wake.acquire()
            if not remaining:
                return
            tries = attempts.popleft()
            await bucket.acquire()
            started = loop.time()
            result.sent += 1
            await asyncio.sleep(one_way_latency())
            arrivals += 1
            accepted = service.try_accept(loop.time(), case.quota - case.background_rate(loop.time() - started_at))
            accepted = accepted and arrivals not in case.refused_arrivals
            await asyncio.sleep(one_way_latency())
            now = loop.time()
            if accepted:
                remaining -= 1
                rate = policy.on_accepted(started, now)
            else:
                result.throttled += 1
                rate = policy.on_throttled(started, now, case.retry_after)
                backoff = min(20.0, 0.5 * 2**tries) * rng.uniform(0.5, 1)
                if case.retry_after:
                    bucket.pause_until(now + case.retry_after)
                    backoff = case.retry_after
                loop.call_later(backoff, retry, tries + 1)
            if rate != bucket.rate or policy.burst != bucket.burst:
                bucket.set_rate(rate, policy.burst)
            result.lowest_rate = min(result.lowest_rate, rate)
            result.rates.append((now - started_at, rate))
        result.ratio = (loop.time() - started_at) / (case.requests / case.quota)
        for _ in range(case.workers):
            wake.release()

    async with asyncio.TaskGroup() as group:
        for _ in range(case.workers):
            group.create_task(worker())
    return result
