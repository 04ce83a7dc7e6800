"""Rule: a fleet is invented here, from numbers and a seed; the same ones give the same fleet, anywhere."""

from __future__ import annotations

import random
from itertools import count, islice
from typing import Final

from asyncgg.simulator.fleet import Core, FleetSpec

__all__ = ["core_sizes", "generate_fleet"]

_DAY: Final = 86_400.0
_UNHEALTHY_SHARE: Final = 0.05
_SITES: Final = 4
_MISSING_CORE_THINGS: Final = 10
_PLATFORMS: Final = (("linux", "amd64"), ("linux", "aarch64"), ("linux", "arm"), ("windows", "amd64"))


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
    """`cores` core devices with `things` client devices each on average; names are unique over the fleet.

    Thing groups are `all-cores` and `site-1` to `site-4`. Timestamps lie before `now`: a healthy core reported
    within its 24-hour interval, an unhealthy one 1 to 60 days ago.
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
    """Client devices of each core: `cores * things` in all, sizes falling as 1 / rank**skew, ranks dealt at random."""
    total = cores * things
    if size_skew == 0 or things == 0:
        return [things] * cores
    weights = [(rank + 1) ** -size_skew for rank in range(cores)]
    scale = (total - cores) / sum(weights)  # each core keeps one thing
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
