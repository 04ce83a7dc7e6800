"""Rule: batches to be sent come from here, each claimed in the journal and with its token; nothing is decided of them.

The feeder claims a few batches ahead; the server gives them with their tokens to idle workers, in the order these came.
So one batch at most waits at the limiter, and after a crash only the few claimed ahead and those in flight are
ambiguous. Where tokens abound a whole load goes out in one round of the loop: one by one each would cost a round.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import Final

from asyncgg.aggregator import Batch, Settlement
from asyncgg.batching import Claim, CoreWork, Schedule
from asyncgg.engine.control import Control
from asyncgg.engine.lane import Lane
from asyncgg.errors import AsyncggError
from asyncgg.journal import Journal
from asyncgg.ratelimit import Ramp

__all__ = ["Supply"]

_AHEAD_SECONDS: Final = 0.05
"""Batches are claimed so far ahead of their tokens: longer than a synced commit takes, short enough to stay few."""
_PILOT_SECONDS: Final = 1.0
"""The first request goes alone until it is answered, or for so long: it finds wrong credentials before others do, and
pays for the cold connection, which would make those behind it arrive at once."""


class Supply:
    """The batches of one start."""

    def __init__(
        self,
        journal: Journal,
        lane: Lane,
        control: Control,
        *,
        concurrency: int,
        per_core: int,
        ramp: Ramp | None = None,
    ) -> None:
        self.schedule = Schedule(per_core) if ramp is None else Schedule(per_core, int(ramp.largest_batch))
        self.ready: deque[tuple[Claim, Batch]] = deque()
        """Claimed, not yet taken by a worker."""
        self._journal = journal
        self._lane = lane
        self._control = control
        self._ramp = ramp
        self._concurrency = concurrency
        self._clock = asyncio.get_running_loop().time
        self._changed = asyncio.Event()
        self._asked = asyncio.Event()
        self._idle: deque[asyncio.Future[tuple[Claim, Batch] | None]] = deque()
        self._over = False
        self._begun = False
        self._piloted = False
        self._gate: asyncio.Timeout | None = None
        self._fed = False
        self._full = False  # whether the feeder waits for room; else it waits for something to claim
        control.on_stop.append(self._wake_all)

    @property
    def requests_left(self) -> int:
        """Requests still to be sent, if nothing more fails."""
        return self.schedule.requests_left + len(self.ready)

    def waiting(self) -> float | None:
        """Seconds until the last of the things that wait for their next try may be sent; None when none wait."""
        due = self.schedule.last_due()
        return None if due is None else max(0.0, due - self._clock())

    # --- for the feeder ---

    async def feed(self) -> None:
        """Claim batches until none is left, or until the run stops."""
        try:
            while not self._control.stopping:
                now = self._clock()
                claims = self._take(now)
                if claims:
                    await self._claim(claims)
                elif self.schedule.exhausted:
                    break
                else:
                    await self._change(now)
        except AsyncggError as error:
            self._control.fail(error)
        self._fed = True
        self._asked.set()

    def _take(self, now: float) -> list[Claim]:
        """The claims to make at `now`: as many as are wanted ahead of the limiter."""
        room = self._room()
        self._full = not room
        claims: list[Claim] = []
        while len(claims) < room and (claim := self.schedule.take(now)):
            claims.append(claim)
        return claims

    def _room(self) -> int:
        """How many batches to claim: none until half a load is wanted, so that at full speed each commit carries dozens
        of claims and the feeder is woken once for them, not for each."""
        ahead = self._lane.bucket.rate * _AHEAD_SECONDS
        wanted = self._concurrency if math.isinf(ahead) else max(2, math.ceil(ahead))
        wanted = min(wanted, self._concurrency)
        room = wanted - len(self.ready)
        return room if 2 * room >= wanted else 0

    async def _claim(self, claims: list[Claim]) -> None:
        at = time.time()
        batches = await self._journal.call(lambda store: [store.claim(claim, at) for claim in claims])
        for claim, batch in zip(claims, batches, strict=True):
            self.schedule.claimed(claim, batch.ids[-1])
            self.ready.append((claim, batch))
        self._asked.set()

    async def _change(self, now: float) -> None:
        """Wait until a worker took or settled something, or until a core's next wave is due.

        `now` is when `_take` looked: a wave that came due since then must wake us too, and no later look at the clock
        may take it for one that only waits for room.
        """
        due = self.schedule.next_due()
        self._changed.clear()
        loop = asyncio.get_running_loop()
        timer = loop.call_at(due, self._changed.set) if due is not None and due > now else None
        try:
            await self._changed.wait()
        finally:
            if timer is not None:
                timer.cancel()

    # --- for the workers ---

    async def next(self) -> tuple[Claim, Batch] | None:
        """The next batch together with the token for it; None when this start is over."""
        if not self._idle and self._ramp is None and self._ready_to_go() and self._lane.try_token():
            return self._taken()
        if self._over:
            return None
        place: asyncio.Future[tuple[Claim, Batch] | None] = asyncio.get_running_loop().create_future()
        self._idle.append(place)
        self._asked.set()
        item = await place
        if item is not None and self._control.stopping:  # since it was given
            self.ready.appendleft(item)
            self._lane.bucket.give_back()
            return None
        return item

    def answered(self) -> None:
        """Some request was answered: the others need not wait for the first one."""
        self._pilot_is_back()

    def hand_back(self, claim: Claim, settlement: Settlement) -> None:
        """A claim is over; what of it comes again is in `settlement`."""
        if settlement.parts:
            self.schedule.split(claim.work, list(settlement.parts))
        else:
            due = self._clock() + settlement.delay
            self.schedule.settle(claim.work, returned=settlement.returned, due=due)
        if not self._full:
            self._changed.set()

    def give_up(self, work: CoreWork) -> None:
        """Nothing more of this core is to be sent."""
        self.schedule.give_up(work)

    # --- for the server ---

    async def serve(self) -> None:
        """Give out batches with their tokens until this start is over."""
        while not (self._control.stopping or (self._fed and not self.ready)):
            if not (self._idle and self._ready_to_go()):
                self._asked.clear()
                await self._asked.wait()
            elif await self._token():
                self._give()
        self._over = True
        for place in self._idle:
            if not place.done():
                place.set_result(None)

    def _ready_to_go(self) -> bool:
        """Whether a batch may go out as soon as there is a token."""
        return bool(self.ready) and not self._control.stopping and (not self._begun or self._piloted)

    def _give(self) -> None:
        place = self._idle.popleft()
        if place.done():  # its worker was cancelled, as everyone is now
            self._lane.bucket.give_back()
        else:
            place.set_result(self._taken())

    def _taken(self) -> tuple[Claim, Batch]:
        """The first of the claimed batches; its token has been taken."""
        if not self._begun:
            self._begun = True
            asyncio.get_running_loop().call_later(_PILOT_SECONDS, self._pilot_is_back)
        taken = self.ready.popleft()
        if self._ramp is not None:
            self._ramp.sent(len(taken[1].ids), self._clock())
        if self._full and self._room():
            self._changed.set()
        return taken

    def _pilot_is_back(self) -> None:
        if not self._piloted:
            self._piloted = True
            self._asked.set()

    async def _token(self) -> bool:
        """Wait for a token; False when the run is stopped instead."""
        if self._ramp is None and self._lane.try_token():
            return True
        try:
            async with asyncio.timeout(None) as self._gate:
                if self._ramp is not None:
                    await asyncio.sleep(max(0.0, self._ramp.free_at() - self._clock()))
                await self._lane.token()
        except TimeoutError:
            return False
        finally:
            self._gate = None
        if self._control.stopping:
            self._lane.bucket.give_back()
            return False
        return True

    def _wake_all(self) -> None:
        self._changed.set()
        self._asked.set()
        if self._gate is not None:
            self._gate.reschedule(self._clock())
