"""All comparisons in turn, or those named, quota and adaptive first. `--quick` shows only that they work.

`python -m benchmarks` wants a quiet machine and some thirty minutes, two thirds of them for `quota` and `adaptive`.
Tables go to the screen, figures (JSON) and pictures (SVG) to benchmarks/results/, with `--quick` to its folder quick/.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from benchmarks import adaptive, overhead, quota, scale, throughput

_BENCHMARKS: Final[dict[str, Callable[[bool, int | None], None]]] = {
    "quota": quota.run,
    "adaptive": adaptive.run,
    "throughput": throughput.run,
    "overhead": overhead.run,
    "scale": scale.run,
}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(_BENCHMARKS)} (all)")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round")
    parser.add_argument("--rounds", type=int, help="rounds of each, instead of its own number")
    args = parser.parse_args()
    if unknown := set(args.names) - _BENCHMARKS.keys():
        parser.error(f"{', '.join(sorted(unknown))}: there is {', '.join(_BENCHMARKS)}")
    if args.rounds is not None and args.rounds < 1:
        parser.error("--rounds: give 1 or more")
    for name in args.names or _BENCHMARKS:
        _BENCHMARKS[name](args.quick, args.rounds)


if __name__ == "__main__":
    main()
