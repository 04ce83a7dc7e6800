"""Rule: which fault strikes which request or entry is decided here, from seeded dice and counts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from asyncgg.simulator.faultspec import FaultEffect, FaultSpec, FaultSubject

__all__ = ["FaultInjector", "InjectedFault"]


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """What strikes one request as a whole: at most one fault, and seconds of delay on top of the latency."""

    spec: FaultSpec | None = None
    extra_delay: float = 0.0


_NO_FAULT = InjectedFault()


class FaultInjector:
    """The faults of one simulator and how often each of them struck."""

    def __init__(self, specs: Sequence[FaultSpec], rng: random.Random) -> None:
        self.specs = tuple(specs)
        self.fired: Counter[str] = Counter()
        """How often each spec struck; entries are counted one by one."""
        self._rng = rng
        self._used: Counter[str] = Counter()
        self._used_by_thing: Counter[tuple[str, str]] = Counter()
        self._arrived = 0
        self._admitted = 0
        request_faults = [f for f in self.specs if f.kind.effect is not FaultEffect.ENTRY]
        self._credential_faults = [f for f in request_faults if f.kind.subject is FaultSubject.ACCESS_KEY]
        self._delays = [f for f in request_faults if f.kind.effect is FaultEffect.SLOW]
        remaining = [f for f in request_faults if f not in self._credential_faults and f not in self._delays]
        self._deterministic = [f for f in remaining if f.share is None]
        self._probabilistic = [f for f in remaining if f.share is not None]
        self._entry_faults = [f for f in self.specs if f.kind.effect is FaultEffect.ENTRY]

    def draw_for_credentials(self, access_key: str) -> FaultSpec | None:
        """The fault that makes the service not accept this access key id now, if any; call once per request."""
        self._arrived += 1
        for fault in self._credential_faults:
            if _matches_any(fault, (access_key,)) and self._in_range(fault, self._arrived) and self._sampled(fault):
                return self._record(fault)
        return None

    def refuses_key(self, access_key: str) -> bool:
        """Whether the key is refused by name, with no end: also for services whose requests are not counted."""
        return any(
            f.count is None and f.share is None and f.first is None and _matches_any(f, (access_key,))
            for f in self._credential_faults
        )

    def draw_for_request(self, core: str, things: Sequence[str]) -> InjectedFault:
        """What strikes a request that was admitted; call once per request.

        Named and counted faults come first, in their order. The others share one roll of the dice, so that the
        share of each is what its spec says.
        """
        if not self.specs:
            return _NO_FAULT
        self._admitted += 1
        extra_delay = sum(
            self._record(f).seconds
            for f in self._delays
            if self._matches(f, core, things) and self._in_range(f, self._admitted) and self._sampled(f)
        )
        for fault in self._deterministic:
            if self._matches(fault, core, things) and self._in_range(fault, self._admitted):
                return InjectedFault(self._record(fault), extra_delay)
        roll = self._rng.random() if self._probabilistic else 1.0
        for fault in self._probabilistic:
            if self._matches(fault, core, things) and self._in_range(fault, self._admitted):
                roll -= fault.share or 0.0
                if roll < 0.0:
                    return InjectedFault(self._record(fault), extra_delay)
        return InjectedFault(None, extra_delay)

    def draw_for_entry(self, thing: str) -> FaultSpec | None:
        """The fault this one entry meets, if any."""
        for fault in self._entry_faults:
            if not _matches_any(fault, (thing,)):
                continue
            if fault.count is not None:
                if self._used_by_thing[fault.text, thing] >= fault.count:
                    continue
                self._used_by_thing[fault.text, thing] += 1
            if self._sampled(fault):
                return self._record(fault)
        return None

    def _matches(self, fault: FaultSpec, core: str, things: Sequence[str]) -> bool:
        return _matches_any(fault, things if fault.kind.subject is FaultSubject.THING else (core,))

    def _in_range(self, fault: FaultSpec, request_number: int) -> bool:
        if fault.first is not None and fault.last is not None and not fault.first <= request_number <= fault.last:
            return False
        return fault.count is None or self._used[fault.text] < fault.count

    def _sampled(self, fault: FaultSpec) -> bool:
        return fault.share is None or self._rng.random() < fault.share

    def _record(self, fault: FaultSpec) -> FaultSpec:
        self._used[fault.text] += 1
        self.fired[fault.text] += 1
        return fault


def _matches_any(fault: FaultSpec, names: Sequence[str]) -> bool:
    return fault.matches is None or any(fault.matches(name) for name in names)
