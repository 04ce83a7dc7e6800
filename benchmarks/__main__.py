"""Run the comparisons with other clients, all of them or those named.

`python -m benchmarks` takes about 30 minutes on an idle machine, two thirds of them for `quota` and
`adaptive`. Tables go to standard output, JSON and SVG files to benchmarks/results/. `--quick` shows
only that the benchmarks work; its files go to benchmarks/results/quick/.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from benchmarks import adaptive, decommission_devices, fleet, overhead, quota, report, scale, throughput

_BENCHMARKS: Final[dict[str, Callable[[bool, int | None], None]]] = {
    "quota": quota.run,
    "adaptive": adaptive.run,
    "throughput": throughput.run,
    "overhead": overhead.run,
    "scale": scale.run,
    "report": report.run,
    "decommission_devices": decommission_devices.run,
    "fleet": fleet.run,
}


def main() -> None:
    """Run the benchmarks named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(_BENCHMARKS)} [default: all]")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round")
    parser.add_argument("--rounds", type=int, help="number of rounds [default: depends on the benchmark]")
    args = parser.parse_args()
    if unknown := set(args.names) - _BENCHMARKS.keys():
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}; must be one of: {', '.join(_BENCHMARKS)}")
    if args.rounds is not None and args.rounds < 1:
        parser.error("--rounds must be at least 1")
    for name in args.names or _BENCHMARKS:
        _BENCHMARKS[name](args.quick, args.rounds)


if __name__ == "__main__":
    main()
