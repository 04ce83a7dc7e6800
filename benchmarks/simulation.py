"""Simulate clients that share a quota as plain events in virtual time, a minute in milliseconds.

The pacing is the arithmetic of `asyncgg.ratelimit.TokenBucket` without an event loop, fast enough
for thousands of comparisons. `tests/support/rate_simulation.py` does the same with the real
classes.
"""

from __future__ import annotations

import heapq
import math
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from asyncgg.ratelimit import RatePolicy
from asyncgg.service_limiters import ServiceLimiter

__all__ = [
    "Client",
    "PolicyClient",
    "QuotaStep",
    "SdkLegacyClient",
    "Service",
    "Simulation",
    "quota_utilization",
]

QuotaStep = tuple[float, float]
"""(seconds since the start, requests per second from then on)."""


@dataclass(slots=True)
class Service:
    """A service with one token bucket, or with `limiter`."""

    steps: Sequence[QuotaStep]
    """The quota; the first step starts at 0."""
    burst: float
    latency: float = 0.06
    jitter: float = 0.04
    """Mean of an exponential time added to the latency."""
    retry_after: float | None = None
    arrival_fraction: float = 0.25
    """Share of the latency before the service accepts or throttles a request."""
    limiter: ServiceLimiter | None = None
    tokens: float = field(init=False)
    updated_at: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def quota(self, now: float) -> float:
        """Return the requests per second at this time."""
        return next(rate for since, rate in reversed(self.steps) if since <= now)

    def allowed_requests(self, start: float, end: float) -> float:
        """Return the requests that the quota allows between two times, without the burst."""
        bounds = [*(since for since, _ in self.steps), math.inf]
        return sum(
            rate * max(0.0, min(end, bounds[i + 1]) - max(start, bounds[i])) for i, (_, rate) in enumerate(self.steps)
        )

    def try_accept(self, now: float) -> bool:
        """Accept or throttle a request that arrives now."""
        if self.limiter is not None:
            self.limiter.set_limits(self.quota(now), self.burst, now)
            return self.limiter.try_acquire(now)
        self.tokens = min(self.burst, self.tokens + self.allowed_requests(self.updated_at, now))
        self.updated_at = now
        if self.tokens < 1 - 1e-9:
            return False
        self.tokens -= 1
        return True


@dataclass(slots=True)
class Client:
    """One client; times are in seconds since the start."""

    name: str
    start: float = 0.0
    work: float = math.inf
    """Number of requests to be accepted."""
    workers: int = 64
    end: float = math.inf
    """Time at which it stops sending."""
    sent: list[float] = field(default_factory=list)
    accepted: list[float] = field(default_factory=list)
    """Arrival times of accepted requests."""
    throttled: list[float] = field(default_factory=list)
    done_at: float = math.inf
    remaining: float = field(init=False)
    """Requests not sent yet."""
    in_flight: int = 0

    def __post_init__(self) -> None:
        self.remaining = self.work

    @property
    def throttled_share(self) -> float:
        """Share of the requests sent."""
        return len(self.throttled) / max(1, len(self.sent))

    def peak_rate(self, window: float) -> float:
        """Return the highest rate over any window of so many seconds."""
        times = self.sent
        return max(((bisect_left(times, at + window) - i) / window for i, at in enumerate(times)), default=0.0)

    def send_delay(self, now: float) -> float | None:
        """Return the seconds until the client can send, or None if it must wait for a reply."""
        raise NotImplementedError

    def on_reply(self, started: float, now: float, *, accepted: bool, retry_after: float | None, tries: int) -> float:
        """Handle a reply; return the seconds until a retry (inf: never)."""
        raise NotImplementedError


@dataclass(slots=True)
class PolicyClient(Client):
    """A run of asyncgg: a rate policy and its token bucket."""

    policy: RatePolicy = field(kw_only=True)
    rates: list[tuple[float, float]] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    tokens: float = field(init=False)
    updated_at: float = field(init=False)
    paused_until: float = -math.inf

    def __post_init__(self) -> None:
        self.remaining = self.work
        self.tokens, self.updated_at = self.policy.burst, self.start
        self.rates.append((self.start, self.policy.rate))
        self.rate, self.burst = self.policy.rate, self.policy.burst

    rate: float = field(init=False)
    burst: float = field(init=False)

    def send_delay(self, now: float) -> float | None:
        """Take a token if possible, as `TokenBucket` does."""
        self._refill(now)
        if now < self.paused_until:
            return self.paused_until - now
        if self.tokens < 1 - 1e-9:
            return (1 - self.tokens) / self.rate
        self.tokens -= 1
        return 0.0

    def on_reply(self, started: float, now: float, *, accepted: bool, retry_after: float | None, tries: int) -> float:
        """Handle a reply as `Lane` and `RetryPolicy.throttle_delay` do."""
        if accepted:
            self.policy.on_accepted(started, now)
            wait = 0.0
        else:
            self.policy.on_throttled(started, now, retry_after)
            wait = min(20.0, (now - started) * 2.0 ** (tries - 1)) * self.rng.uniform(0.5, 1)
            if retry_after:
                self.paused_until = max(self.paused_until, now + retry_after)
                wait = retry_after
        if self.policy.rate != self.rate or self.policy.burst != self.burst:
            self._refill(now)
            self.rate, self.burst = self.policy.rate, self.policy.burst
            self.rates.append((now, self.rate))
        return wait

    def _refill(self, now: float) -> None:
        self.tokens = min(self.burst, self.tokens + (now - self.updated_at) * self.rate)
        self.updated_at = now


@dataclass(slots=True)
class SdkLegacyClient(Client):
    """A loop over the SDK in legacy mode: no pacing, four retries after up to 1, 2, 4, 8 s."""

    rng: random.Random = field(default_factory=lambda: random.Random(2))

    def send_delay(self, now: float) -> float | None:
        """Send at any time."""
        return 0.0

    def on_reply(self, started: float, now: float, *, accepted: bool, retry_after: float | None, tries: int) -> float:
        """Retry after a random time."""
        return 0.0 if accepted else math.inf if tries >= 5 else self.rng.random() * 2.0 ** (tries - 1)


class Simulation:
    """Runs clients against a service until all are done, at most until `until` seconds."""

    def __init__(self, service: Service, clients: Sequence[Client], *, until: float = 3600.0, seed: int = 0) -> None:
        self.service, self.clients, self.until = service, clients, until
        self._rng = random.Random(seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = count()
        self._retries: dict[int, list[int]] = {id(client): [] for client in clients}
        self._wakeups: dict[int, float] = {}

    def run(self) -> float:
        """Run to the end and return its time."""
        now = 0.0
        for client in self.clients:
            self._schedule(client.start, self._wake, client)
        open_ended = any(math.isinf(client.work) for client in self.clients)
        while self._events:
            now, _, call, arguments = heapq.heappop(self._events)
            if now > self.until or (not open_ended and all(client.done_at < math.inf for client in self.clients)):
                break
            call(now, *arguments)
        return now

    def _schedule(self, when: float, call: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self._events, (when, next(self._order), call, arguments))

    def _wake(self, now: float, client: Client) -> None:
        self._wakeups.pop(id(client), None)
        retries = self._retries[id(client)]
        while (client.remaining > 0 or retries) and client.in_flight < client.workers and now < client.end:
            wait = client.send_delay(now)
            if wait is None:
                return
            if wait > 0:
                self._wakeups[id(client)] = now + wait
                self._schedule(now + wait + 1e-12, self._on_wakeup, client, now + wait)
                return
            tries = retries.pop() if retries else 1
            if tries == 1:
                client.remaining -= 1
            client.in_flight += 1
            client.sent.append(now)
            time = self.service.latency
            if self.service.jitter:
                time += self._rng.expovariate(1 / self.service.jitter)
            request_time = time * self.service.arrival_fraction
            self._schedule(now + request_time, self._arrive, client, now, time - request_time, tries)

    def _on_wakeup(self, now: float, client: Client, when: float) -> None:
        if self._wakeups.get(id(client)) == when:  # otherwise a later one is scheduled
            self._wake(now, client)

    def _arrive(self, now: float, client: Client, started: float, reply_time: float, tries: int) -> None:
        accepted = self.service.try_accept(now)
        (client.accepted if accepted else client.throttled).append(now)
        self._schedule(now + reply_time, self._reply, client, started, accepted, tries)

    def _reply(self, now: float, client: Client, started: float, accepted: bool, tries: int) -> None:
        client.in_flight -= 1
        after = None if accepted else self.service.retry_after
        wait = client.on_reply(started, now, accepted=accepted, retry_after=after, tries=tries)
        if accepted or wait == math.inf:
            if (
                client.remaining <= 0
                and not client.in_flight
                and not self._retries[id(client)]
                and self._work_accepted(client)
            ):
                client.done_at = now
        else:
            self._schedule(now + wait, self._on_retry, client, tries + 1)
        self._wake(now, client)

    def _work_accepted(self, client: Client) -> bool:
        return not isinstance(client, PolicyClient) or len(client.accepted) >= client.work

    def _on_retry(self, now: float, client: Client, tries: int) -> None:
        self._retries[id(client)].append(tries)
        self._wake(now, client)


def quota_utilization(service: Service, clients: Sequence[Client], start: float, end: float) -> float:
    """Return the accepted requests between two times relative to the quota."""
    accepted = sum(start <= at < end for client in clients for at in client.accepted)
    return accepted / service.allowed_requests(start, end)
