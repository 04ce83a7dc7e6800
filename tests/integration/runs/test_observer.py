"""The documented observer works as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from asyncgg.simulator import FleetSpec
from tests.integration.cli.conftest import StartSimulator

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "python.md"


def test_documented_observer_sees_each_request(serve: StartSimulator, capsys: pytest.CaptureFixture[str]) -> None:
    """The example of the page prints a line with core, status and request ID for each request of the service."""
    simulator = serve(FleetSpec.from_things({"core-lyon-2": ["pump:valve-9"]}, now=1000.0))
    example = re.search(r"<!-- the observer -->\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    exec(compile(example[1], str(PAGE), "exec"), {})
    (entry,) = simulator.service.counters.log
    (line,) = [line for line in capsys.readouterr().out.splitlines() if entry.request_id in line]
    assert line.startswith(f"core-lyon-2 200 {entry.request_id} 0.")
    assert not simulator.service.fleet.things["core-lyon-2"]
