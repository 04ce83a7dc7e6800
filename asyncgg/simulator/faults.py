"""Rule: which fault strikes which request or entry is decided here, from seeded dice and counts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from asyncgg.simulator.faultspec import Effect, Fault, Subject

__all__ = ["Faults", "Strike"]


@dataclass(frozen=True, slots=True)
class Strike:
    """What strikes one request as a whole: at most one fault, and seconds of delay on top of the latency."""

    fault: Fault | None = None
    slow: float = 0.0


_NOTHING = Strike()


class Faults:
    """The faults of one simulator and how often each of them struck."""

    def __init__(self, faults: Sequence[Fault], rng: random.Random) -> None:
        self.faults = tuple(faults)
        self.fired: Counter[str] = Counter()
        """How often each spec struck; entries are counted one by one."""
        self._rng = rng
        self._used: Counter[str] = Counter()
        self._used_by_thing: Counter[tuple[str, str]] = Counter()
        self._arrived = 0
        self._admitted = 0
        whole = [f for f in self.faults if f.kind.effect is not Effect.ENTRY]
        self._keys = [f for f in whole if f.kind.subject is Subject.ACCESS_KEY]
        self._slow = [f for f in whole if f.kind.effect is Effect.SLOW]
        rest = [f for f in whole if f not in self._keys and f not in self._slow]
        self._sure = [f for f in rest if f.share is None]
        self._diced = [f for f in rest if f.share is not None]
        self._entries = [f for f in self.faults if f.kind.effect is Effect.ENTRY]

    def strike_credentials(self, access_key: str) -> Fault | None:
        """The fault that makes the service not accept this access key id now, if any; call once per request."""
        self._arrived += 1
        for fault in self._keys:
            if _meant(fault, (access_key,)) and self._due(fault, self._arrived) and self._rolled(fault):
                return self._struck(fault)
        return None

    def refuses_key(self, access_key: str) -> bool:
        """Whether the key is refused by name, with no end: also for services whose requests are not counted."""
        return any(
            f.count is None and f.share is None and f.first is None and _meant(f, (access_key,)) for f in self._keys
        )

    def strike(self, core: str, things: Sequence[str]) -> Strike:
        """What strikes a request that was admitted; call once per request.

        Named and counted faults come first, in their order. The others share one roll of the dice, so that the
        share of each is what its spec says.
        """
        if not self.faults:
            return _NOTHING
        self._admitted += 1
        slow = sum(
            self._struck(f).seconds
            for f in self._slow
            if self._meant(f, core, things) and self._due(f, self._admitted) and self._rolled(f)
        )
        for fault in self._sure:
            if self._meant(fault, core, things) and self._due(fault, self._admitted):
                return Strike(self._struck(fault), slow)
        dice = self._rng.random() if self._diced else 1.0
        for fault in self._diced:
            if self._meant(fault, core, things) and self._due(fault, self._admitted):
                dice -= fault.share or 0.0
                if dice < 0.0:
                    return Strike(self._struck(fault), slow)
        return Strike(None, slow)

    def strike_entry(self, thing: str) -> Fault | None:
        """The fault this one entry meets, if any."""
        for fault in self._entries:
            if not _meant(fault, (thing,)):
                continue
            if fault.count is not None:
                if self._used_by_thing[fault.spec, thing] >= fault.count:
                    continue
                self._used_by_thing[fault.spec, thing] += 1
            if self._rolled(fault):
                return self._struck(fault)
        return None

    def _meant(self, fault: Fault, core: str, things: Sequence[str]) -> bool:
        return _meant(fault, things if fault.kind.subject is Subject.THING else (core,))

    def _due(self, fault: Fault, number: int) -> bool:
        if fault.first is not None and fault.last is not None and not fault.first <= number <= fault.last:
            return False
        return fault.count is None or self._used[fault.spec] < fault.count

    def _rolled(self, fault: Fault) -> bool:
        return fault.share is None or self._rng.random() < fault.share

    def _struck(self, fault: Fault) -> Fault:
        self._used[fault.spec] += 1
        self.fired[fault.spec] += 1
        return fault


def _meant(fault: Fault, names: Sequence[str]) -> bool:
    return fault.matches is None or any(fault.matches(name) for name in names)
