"""A simulated fleet: core devices, client devices and their associations."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Final

from asyncgg.models import Association

_DAY: Final = 86_400.0
_UNHEALTHY_SHARE: Final = 0.05
_SITES: Final = 4
_MISSING_CORE_THINGS: Final = 10
_PLATFORMS: Final = (("linux", "amd64"), ("linux", "aarch64"), ("linux", "arm"), ("windows", "amd64"))


@dataclass(frozen=True, slots=True)
class Core:
    """A core device as in ListCoreDevices."""

    name: str
    status: str = "HEALTHY"
    last_status_update: float = 0.0
    platform: str = "linux"
    architecture: str = "amd64"
    runtime: str = "aws_nucleus_classic"
    groups: tuple[str, ...] = ()
    """Names of the thing groups that contain the core."""


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """An initial fleet and manifest rows for things and cores that do not exist."""

    cores: tuple[Core, ...]
    things: Mapping[str, Mapping[str, float]]
    """Core name → thing name → time of association, seconds since 1970."""
    missing_things: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Core name → names of things that do not exist."""
    missing_cores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name of a core that does not exist → thing names."""

    @classmethod
    def from_things(cls, things: Mapping[str, Iterable[str]], now: float = 0.0) -> FleetSpec:
        """Create a fleet of healthy cores from core name → thing names, associated at `now`."""
        cores = tuple(Core(name, last_status_update=now) for name in things)
        return cls(cores, {core: dict.fromkeys(names, now) for core, names in things.items()})

    def pairs(self) -> Iterator[Association]:
        """Iterate over all rows of the manifest."""
        for core in self.cores:
            for thing in self.things[core.name]:
                yield Association(core.name, thing)
            for thing in self.missing_things.get(core.name, ()):
                yield Association(core.name, thing)
        for name, things in self.missing_cores.items():
            for thing in things:
                yield Association(name, thing)


class Fleet:
    """The current state of a fleet."""

    def __init__(self, spec: FleetSpec) -> None:
        self.cores: dict[str, Core] = {core.name: core for core in spec.cores}
        self.things: dict[str, dict[str, float]] = {name: dict(spec.things[name]) for name in self.cores}
        self._nonexistent_things = frozenset(thing for things in spec.missing_things.values() for thing in things)
        self._core_names = sorted(self.cores)
        self._sorted_things: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return sum(map(len, self.things.values()))

    def disassociate(self, core: str, thing: str) -> bool:
        """Remove an association; False without one. The core must exist."""
        if self.things[core].pop(thing, None) is None:
            return False
        self._sorted_things.pop(core, None)
        return True

    def associate(self, core: str, thing: str, now: float) -> bool:
        """Associate a thing; False if the thing does not exist. The core must exist."""
        if thing in self._nonexistent_things:
            return False
        if thing not in self.things[core]:
            self.things[core][thing] = now
            self._sorted_things.pop(core, None)
        return True

    def page_of_cores(
        self, after: str, limit: int, *, status: str = "", runtime: str = "", group: str = ""
    ) -> tuple[list[Core], bool]:
        """Get up to `limit` matching cores with names after `after`, and whether more follow."""
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
        """Get up to `limit` client devices with names after `after`, and whether more follow."""
        things = self.things[core]
        names = self._sorted_things.get(core)
        if names is None:
            names = self._sorted_things[core] = sorted(things)
        start = bisect_right(names, after)
        return [(name, things[name]) for name in names[start : start + limit]], start + limit < len(names)


def generate_fleet(
    cores: int,
    things: int,
    *,
    size_skew: float = 0.0,
    seed: int = 0,
    missing_things: int = 0,
    missing_cores: int = 0,
    now: float = 0.0,
) -> FleetSpec:
    """Generate `cores` core devices with `things` client devices each on average.

    The same arguments give the same fleet on every machine. Thing groups are `all-cores` and
    `site-1` to `site-4`. A healthy core reported within 24 hours before `now`, an unhealthy one 1
    to 60 days ago.
    """
    rng = random.Random(seed)
    core_devices = tuple(_make_core(number, rng, now) for number in range(1, cores + 1))
    names = (f"device-{number:06d}" for number in count(1))
    ghosts = (f"ghost-{number:06d}" for number in count(1))
    associated = {
        core.name: {name: round(now - rng.uniform(1, 400) * _DAY, 3) for name in islice(names, size)}
        for core, size in zip(core_devices, core_sizes(cores, things, size_skew, rng), strict=True)
    }
    missing_by_core: dict[str, list[str]] = {}
    for number, ghost in enumerate(islice(ghosts, missing_things)):
        missing_by_core.setdefault(core_devices[number % cores].name, []).append(ghost)
    things_of_missing_cores = {
        f"ghost-core-{number:05d}": tuple(islice(names, min(max(things, 1), _MISSING_CORE_THINGS)))
        for number in range(1, missing_cores + 1)
    }
    return FleetSpec(
        core_devices,
        associated,
        {core: tuple(missing) for core, missing in missing_by_core.items()},
        things_of_missing_cores,
    )


def core_sizes(cores: int, things: int, size_skew: float, rng: random.Random) -> list[int]:
    """Draw `cores` sizes that fall as 1 / rank**size_skew; their sum is `cores * things`."""
    total = cores * things
    if size_skew == 0 or things == 0:
        return [things] * cores
    weights = [(rank + 1) ** -size_skew for rank in range(cores)]
    scale = (total - cores) / sum(weights)  # each core has at least one thing
    sizes = [1 + int(weight * scale) for weight in weights]
    sizes[0] += total - sum(sizes)
    rng.shuffle(sizes)
    return sizes


def _make_core(number: int, rng: random.Random, now: float) -> Core:
    healthy = rng.random() >= _UNHEALTHY_SHARE
    age = rng.uniform(0, 1) if healthy else rng.uniform(1, 60)
    platform, architecture = rng.choice(_PLATFORMS)
    return Core(
        name=f"core-{number:05d}",
        status="HEALTHY" if healthy else "UNHEALTHY",
        last_status_update=round(now - age * _DAY, 3),
        platform=platform,
        architecture=architecture,
        runtime="aws_nucleus_lite" if architecture == "arm" else "aws_nucleus_classic",
        groups=("all-cores", f"site-{(number - 1) % _SITES + 1}"),
    )
