"""Rule: what the service knows lives here: core devices, their client devices, and the changes made to them.

No quota, no fault, no HTTP; the time is an argument, in seconds since 1970.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from asyncgg.models import Association

__all__ = ["Core", "Fleet", "FleetSpec"]


@dataclass(frozen=True, slots=True)
class Core:
    """One core device as ListCoreDevices tells it."""

    name: str
    status: str = "HEALTHY"
    last_status_update: float = 0.0
    platform: str = "linux"
    architecture: str = "amd64"
    runtime: str = "aws_nucleus_classic"
    groups: tuple[str, ...] = ()
    """Names of its thing groups."""


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """A fleet as it is at first, and the manifest rows that point at nothing."""

    cores: tuple[Core, ...]
    things: Mapping[str, Mapping[str, float]]
    """Core name → thing name → time of association."""
    missing_things: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Core name → names that are associated with no core and are no things at all."""
    missing_cores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names that are no core device → thing names."""

    @classmethod
    def from_things(cls, things: Mapping[str, Iterable[str]], now: float = 0.0) -> FleetSpec:
        """A fleet written out by hand: core name → thing names, all healthy and associated at `now`."""
        cores = tuple(Core(name, last_status_update=now) for name in things)
        return cls(cores, {core: dict.fromkeys(names, now) for core, names in things.items()})

    def pairs(self) -> Iterator[Association]:
        """Every row of the fleet's manifest: what is associated, then what points at nothing."""
        for core in self.cores:
            for thing in self.things[core.name]:
                yield Association(core.name, thing)
            for thing in self.missing_things.get(core.name, ()):
                yield Association(core.name, thing)
        for name, things in self.missing_cores.items():
            for thing in things:
                yield Association(name, thing)


class Fleet:
    """The fleet as it is now."""

    def __init__(self, spec: FleetSpec) -> None:
        self.cores: dict[str, Core] = {core.name: core for core in spec.cores}
        self.things: dict[str, dict[str, float]] = {name: dict(spec.things[name]) for name in self.cores}
        self._nonexistent_things = frozenset(thing for things in spec.missing_things.values() for thing in things)
        self._core_names = sorted(self.cores)
        self._sorted_things: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return sum(map(len, self.things.values()))

    def disassociate(self, core: str, thing: str) -> bool:
        """End the association; False when there was none. The core must exist."""
        if self.things[core].pop(thing, None) is None:
            return False
        self._sorted_things.pop(core, None)
        return True

    def associate(self, core: str, thing: str, now: float) -> bool:
        """Associate the thing, again if it is; False when no such thing exists. The core must exist."""
        if thing in self._nonexistent_things:
            return False
        if thing not in self.things[core]:
            self.things[core][thing] = now
            self._sorted_things.pop(core, None)
        return True

    def page_of_cores(
        self, after: str, limit: int, *, status: str = "", runtime: str = "", group: str = ""
    ) -> tuple[list[Core], bool]:
        """Up to `limit` matching cores whose names follow `after`, and whether there are more."""
        page: list[Core] = []
        for name in self._core_names[bisect_right(self._core_names, after) :]:
            core = self.cores[name]
            if (status and core.status != status) or (runtime and core.runtime != runtime):
                continue
            if group and group not in core.groups:
                continue
            if len(page) == limit:
                return page, True
            page.append(core)
        return page, False

    def page_of_things(self, core: str, after: str, limit: int) -> tuple[list[tuple[str, float]], bool]:
        """Up to `limit` client devices of the core whose names follow `after`, and whether there are more."""
        things = self.things[core]
        names = self._sorted_things.get(core)
        if names is None:
            names = self._sorted_things[core] = sorted(things)
        start = bisect_right(names, after)
        return [(name, things[name]) for name in names[start : start + limit]], start + limit < len(names)
