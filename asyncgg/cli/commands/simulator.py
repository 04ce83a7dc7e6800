"""The `asyncgg simulator` command."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any, Final, get_type_hints

from asyncgg.cli.options import DEBUG, Option, make_command
from asyncgg.simulator.cli import run
from asyncgg.simulator.config import DEFAULT_PORT, SimulatorConfig

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

_TYPES: Final[dict[Any, Any]] = {str | None: str, float | None: float, int | None: int}


def _option(field: Field[Any], hint: Any) -> Option:
    text = str(field.metadata["help"])
    if field.default not in {None, ()}:
        text += f" [default: {field.default:g}]" if isinstance(field.default, float) else f" [default: {field.default}]"
    multiple = hint == tuple[str, ...]
    return Option(
        f"--{field.name.replace('_', '-')}",
        field.metadata["metavar"],
        text,
        "Simulation",
        type=str if multiple else _TYPES.get(hint, hint),
        multiple=multiple,
    )


_HINTS: Final = get_type_hints(SimulatorConfig)


@make_command(
    Option("--port", "PORT", f"0 for any free one [default: {DEFAULT_PORT}]", type=int, default=DEFAULT_PORT),
    Option("--host", "HOST", "address to serve at [default: 127.0.0.1]", default="127.0.0.1"),
    [_option(field, _HINTS[field.name]) for field in fields(SimulatorConfig)],
    DEBUG,
    epilog=_EPILOG,
)
def command(*, port: int, host: str, **arguments: Any) -> int:
    """Serve a simulated Greengrass V2 and AWS IoT until SIGTERM or Ctrl-C.

    The first line of standard output is its URL.
    """
    config = {name: value for name, value in arguments.items() if value is not None and name in _HINTS}
    return run(SimulatorConfig(**config), port=port, host=host)
