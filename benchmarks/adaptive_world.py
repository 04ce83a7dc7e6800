"""Rule: a service with a quota and those who share it, as plain events in virtual time: a minute of it in milliseconds.

Made to compare rate policies by the thousand. The pacing is the arithmetic of `asyncgg.ratelimit.TokenBucket` without
an event loop; `tests/ratelimit/lane.py` runs the real one and agrees. Nothing is drawn, printed or judged here.
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

__all__ = ["Legacy", "Paced", "Sender", "Service", "Step", "World", "share_of"]

Step = tuple[float, float]
"""(seconds since the start, requests a second from then on)."""


@dataclass(slots=True)
class Service:
    """What the others talk to: one token bucket, a latency, perhaps a header."""

    steps: Sequence[Step]
    """Its quota; the first step begins at 0."""
    burst: float
    latency: float = 0.06
    jitter: float = 0.04
    """Mean of an exponential time added to the latency."""
    retry_after: float | None = None
    inward: float = 0.25
    """Part of a request's time that passes before the service decides."""
    tokens: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def quota(self, now: float) -> float:
        """Requests a second at this time."""
        return next(rate for since, rate in reversed(self.steps) if since <= now)

    def granted(self, begin: float, end: float) -> float:
        """Requests that the quota allows between two times, the burst aside."""
        bounds = [*(since for since, _ in self.steps), math.inf]
        return sum(
            rate * max(0.0, min(end, bounds[i + 1]) - max(begin, bounds[i])) for i, (_, rate) in enumerate(self.steps)
        )

    def take(self, now: float) -> bool:
        """Whether a request that arrives now is accepted."""
        self.tokens = min(self.burst, self.tokens + self.granted(self.at, now))
        self.at = now
        if self.tokens < 1 - 1e-9:
            return False
        self.tokens -= 1
        return True


@dataclass(slots=True)
class Sender:
    """One client; times of what it did, in seconds since the start."""

    name: str
    begin: float = 0.0
    work: float = math.inf
    """Requests to be accepted before it is done."""
    workers: int = 64
    end: float = math.inf
    """When it goes away, done or not."""
    sent: list[float] = field(default_factory=list)
    accepted: list[float] = field(default_factory=list)
    """Arrivals that were accepted."""
    throttled: list[float] = field(default_factory=list)
    done_at: float = math.inf
    left: float = field(init=False)
    """Still to be handed out."""
    flying: int = 0

    def __post_init__(self) -> None:
        self.left = self.work

    @property
    def throttled_share(self) -> float:
        """Of what was sent."""
        return len(self.throttled) / max(1, len(self.sent))

    def most_in(self, window: float) -> float:
        """The highest rate of sending over any window of so many seconds."""
        times = self.sent
        return max(((bisect_left(times, at + window) - i) / window for i, at in enumerate(times)), default=0.0)

    def may_send(self, now: float) -> float | None:
        """0 if it may send now, seconds to wait, or None when a reply must come first."""
        raise NotImplementedError

    def replied(self, started: float, now: float, *, accepted: bool, retry_after: float | None, tries: int) -> float:
        """Take in a reply; after a throttle, the seconds until the request is tried again (inf for never)."""
        raise NotImplementedError


@dataclass(slots=True)
class Paced(Sender):
    """A run of ours: a policy, and the bucket it steers."""

    policy: RatePolicy = field(kw_only=True)
    rates: list[tuple[float, float]] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    tokens: float = field(init=False)
    stamp: float = field(init=False)
    paused: float = -math.inf

    def __post_init__(self) -> None:
        self.left = self.work
        self.tokens, self.stamp = self.policy.burst, self.begin
        self.rates.append((self.begin, self.policy.rate))
        self.rate, self.burst = self.policy.rate, self.policy.burst

    rate: float = field(init=False)
    burst: float = field(init=False)

    def may_send(self, now: float) -> float | None:
        """As the real bucket does it; the token is taken."""
        self._refill(now)
        if now < self.paused:
            return self.paused - now
        if self.tokens < 1 - 1e-9:
            return (1 - self.tokens) / self.rate
        self.tokens -= 1
        return 0.0

    def replied(self, started: float, now: float, *, accepted: bool, retry_after: float | None, tries: int) -> float:
        """As the real lane does it."""
        if accepted:
            self.policy.on_accepted(started, now)
            wait = 0.0
        else:
            self.policy.on_throttled(started, now, retry_after)
            wait = min(20.0, 0.5 * 2 ** (tries - 1)) * self.chance.uniform(0.5, 1)
            if retry_after:
                self.paused = max(self.paused, now + retry_after)
                wait = retry_after
        if self.policy.rate != self.rate or self.policy.burst != self.burst:
            self._refill(now)
            self.rate, self.burst = self.policy.rate, self.policy.burst
            self.rates.append((now, self.rate))
        return wait

    def _refill(self, now: float) -> None:
        self.tokens = min(self.burst, self.tokens + (now - self.stamp) * self.rate)
        self.stamp = now


@dataclass(slots=True)
class Legacy(Sender):
    """A loop over the SDK in its legacy mode: as fast as answers come, four retries after up to 1, 2, 4, 8 s."""

    chance: random.Random = field(default_factory=lambda: random.Random(2))

    def may_send(self, now: float) -> float | None:
        """Always."""
        return 0.0

    def replied(self, started: float, now: float, *, accepted: bool, retry_after: float | None, tries: int) -> float:
        """Ignores what it is told."""
        return 0.0 if accepted else math.inf if tries >= 5 else self.chance.random() * 2.0 ** (tries - 1)


class World:
    """Runs the senders against the service until they are done, or until `until` seconds."""

    def __init__(self, service: Service, senders: Sequence[Sender], *, until: float = 3600.0, seed: int = 0) -> None:
        self.service, self.senders, self.until = service, senders, until
        self._chance = random.Random(seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = count()
        self._again: dict[int, list[int]] = {id(sender): [] for sender in senders}
        self._timer: dict[int, float] = {}

    def run(self) -> float:
        """All of it; the time of the end."""
        now = 0.0
        for sender in self.senders:
            self._at(sender.begin, self._wake, sender)
        open_ended = any(math.isinf(sender.work) for sender in self.senders)
        while self._events:
            now, _, call, arguments = heapq.heappop(self._events)
            if now > self.until or (not open_ended and all(s.done_at < math.inf for s in self.senders)):
                break
            call(now, *arguments)
        return now

    def _at(self, when: float, call: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self._events, (when, next(self._order), call, arguments))

    def _wake(self, now: float, sender: Sender) -> None:
        self._timer.pop(id(sender), None)
        again = self._again[id(sender)]
        while (sender.left > 0 or again) and sender.flying < sender.workers and now < sender.end:
            wait = sender.may_send(now)
            if wait is None:
                return
            if wait > 0:
                self._timer[id(sender)] = now + wait
                self._at(now + wait + 1e-12, self._timed, sender, now + wait)
                return
            tries = again.pop() if again else 1
            if tries == 1:
                sender.left -= 1
            sender.flying += 1
            sender.sent.append(now)
            time = self.service.latency
            if self.service.jitter:
                time += self._chance.expovariate(1 / self.service.jitter)
            inward = time * self.service.inward
            self._at(now + inward, self._arrive, sender, now, time - inward, tries)

    def _timed(self, now: float, sender: Sender, when: float) -> None:
        if self._timer.get(id(sender)) == when:  # else a later one has been set
            self._wake(now, sender)

    def _arrive(self, now: float, sender: Sender, started: float, back: float, tries: int) -> None:
        accepted = self.service.take(now)
        (sender.accepted if accepted else sender.throttled).append(now)
        self._at(now + back, self._reply, sender, started, accepted, tries)

    def _reply(self, now: float, sender: Sender, started: float, accepted: bool, tries: int) -> None:
        sender.flying -= 1
        after = None if accepted else self.service.retry_after
        wait = sender.replied(started, now, accepted=accepted, retry_after=after, tries=tries)
        if accepted or wait == math.inf:
            if sender.left <= 0 and not sender.flying and not self._again[id(sender)] and self._all_in(sender):
                sender.done_at = now
        else:
            self._at(now + wait, self._come_back, sender, tries + 1)
        self._wake(now, sender)

    def _all_in(self, sender: Sender) -> bool:
        return not isinstance(sender, Paced) or len(sender.accepted) >= sender.work

    def _come_back(self, now: float, sender: Sender, tries: int) -> None:
        self._again[id(sender)].append(tries)
        self._wake(now, sender)


def share_of(service: Service, senders: Sequence[Sender], begin: float, end: float) -> float:
    """What the senders got between two times, over what the quota allowed."""
    got = sum(begin <= at < end for sender in senders for at in sender.accepted)
    return got / service.granted(begin, end)
