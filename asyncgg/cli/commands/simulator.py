"""The `asyncgg simulator` command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from asyncgg.cli.options import DEBUG, Option, make_command
from asyncgg.simulator.cli import run, server_options
from asyncgg.simulator.config import SimulatorConfig

_EPILOG = """
\b
Examples:
  asyncgg simulator
  asyncgg simulator --port 0 --rate 30 --burst 10 --latency-ms 80 --cores 50
  asyncgg simulator --limiter sliding-window --rate 30
  asyncgg simulator --partitions 8 --burst 50
  asyncgg simulator --fault 500=5% --fault deny@core-0000?

\b
Then, in another terminal (any credentials work):
  export AWS_ENDPOINT_URL=http://127.0.0.1:8765
  export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x
  curl -s $AWS_ENDPOINT_URL/_sim/manifest.csv > fleet.csv
  asyncgg disassociate fleet.csv
"""


def _options() -> Iterator[Option]:
    for flag, attributes in server_options():
        default = attributes["default"]
        if default not in {None, ()}:
            attributes["help"] += f" [default: {default:g}]" if isinstance(default, float) else f" [default: {default}]"
        yield Option(flag, panel="Options" if flag in {"--port", "--host"} else "Simulation", **attributes)


@make_command(_options(), DEBUG, epilog=_EPILOG)
def command(*, port: int, host: str, debug: bool, **settings: Any) -> int:
    """Serve a simulated Greengrass V2 and AWS IoT until SIGTERM or Ctrl-C.

    The first line of standard output is its URL.
    """
    return run(SimulatorConfig(**settings), port=port, host=host)
