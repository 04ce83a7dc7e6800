"""The files of a campaign for tests: targets.toml and fleet.csv for some simulators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from asyncgg.simulator import FleetSpec


def write_targets(
    folder: Path, urls: Sequence[str], plan: FleetSpec, defaults: str, settings: Mapping[int, str] | None = None
) -> None:
    """Targets t1, t2, ... with the accounts 111111111111, 222222222222, ..., each with the whole fleet.

    `settings`: further lines of TOML for some targets, by number from 1.
    """
    text, rows = f"[defaults]\n{defaults}\n", "core,thing,target\n"
    for number, url in enumerate(urls, 1):
        text += f'[[target]]\nname = "t{number}"\naccount = "{f"{number}" * 12}"\nregion = "eu-west-1"\n'
        text += f'endpoint-url = "{url}"\n{(settings or {}).get(number, "")}'
        rows += "".join(f"{core},{thing},t{number}\n" for core, thing in plan.pairs())
    (folder / "targets.toml").write_text(text, encoding="utf-8")
    (folder / "fleet.csv").write_text(rows, encoding="utf-8")
