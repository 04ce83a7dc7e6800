"""Rule: `asyncgg simulator`: the simulator's own settings made into options; what it does lives in its package."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Annotated, Any, Final, get_type_hints

import typer

from asyncgg.cli.options import Opt, with_options
from asyncgg.simulator.cli import run
from asyncgg.simulator.config import DEFAULT_PORT, SimulatorConfig

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """
\b
Examples:
  asyncgg simulator
  asyncgg simulator --port 0 --rate 30 --burst 10 --latency-ms 80 --cores 50
  asyncgg simulator --fault 500=5% --fault reset-after=3% --fault deny@core-0000?

\b
Then, in another terminal (any credentials will do):
  export AWS_ENDPOINT_URL=http://127.0.0.1:8765 AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x
  curl -s $AWS_ENDPOINT_URL/_sim/manifest.csv > fleet.csv
  asyncgg disassociate fleet.csv
"""

_KINDS: Final[dict[Any, Any]] = {tuple[str, ...]: list[str], str | None: str, float | None: float}


def _option(field: Field[Any], hint: Any) -> Opt:
    text = str(field.metadata["help"])
    if field.default not in {None, ()}:
        text += f" ({field.default:g})" if isinstance(field.default, float) else f" ({field.default})"
    return Opt(field.name, field.metadata["metavar"], text, "Simulation", _KINDS.get(hint, hint))


_HINTS: Final = get_type_hints(SimulatorConfig)
_OPTIONS: Final = [_option(field, _HINTS[field.name]) for field in fields(SimulatorConfig)]


@with_options(_OPTIONS, (Opt("debug", help="show a traceback with an error", panel="Output"),))
def command(
    *,
    port: Annotated[int, typer.Option("--port", metavar="P", help="0 for any free one")] = DEFAULT_PORT,
    host: Annotated[str, typer.Option("--host", metavar="H", help="address to serve at")] = "127.0.0.1",
    **arguments: Any,
) -> int:
    """Serve a simulated Greengrass V2; the URL is the first line of standard output. Runs until SIGTERM or Ctrl-C."""
    config = {name: value for name, value in arguments.items() if value is not None and name in _HINTS}
    config["fault"] = tuple(config.get("fault", ()))
    return run(SimulatorConfig(**config), port=port, host=host)
