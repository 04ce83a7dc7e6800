"""Tests of asyncgg.tuning.service_spec."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.errors import SettingsError
from asyncgg.testing import JitteredLatency, ScheduledChange
from asyncgg.tuning.service_spec import build_scenario, read_service


def test_build_scenario_options_override_the_file(tmp_path: Path) -> None:
    """Options override the file, which overrides the defaults; a byte order mark is skipped."""
    path = tmp_path / "service.toml"
    path.write_text(
        '\ufeffquota = 20\nlatency = "100ms"\nretry-after = 2\nbackground-rate = 3\nerrors = "1%"\n'
        '[[step]]\nat = "1m"\nquota = 5\n'
    )
    scenario = build_scenario({"quota": "40", "jitter": "0"}, read_service(path), str(path))
    assert (scenario.quota, scenario.burst, scenario.latency) == (40, 40, JitteredLatency(0.1, 0.0))
    assert (scenario.retry_after, scenario.background_rate) == (2, 3)
    assert scenario.faults[0].share == 0.01
    assert scenario.changes == (ScheduledChange(60, quota=5),)
    assert build_scenario({}).quota == 30


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quotta = 3", "quotta"),
        ("quota = ", "invalid TOML"),
        ("quota = 'many'", "quota: 'many' is not a number"),
        ("quota = 0", "above 0"),
        ("quota = " + "9" * 400, "too large"),
        ("latency = 'soon'", "latency: 'soon'"),
        ("errors = 101", "errors: 101"),
        ("step = 3", "step"),
        ("[[step]]\nquota = 3", "at"),
        ("[[step]]\nat = 3\nsize = 3", "step.size"),
    ],
)
def test_build_scenario_invalid_file_raises(tmp_path: Path, text: str, message: str) -> None:
    """The error names the file and the key."""
    path = tmp_path / "service.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        build_scenario({}, read_service(path), str(path))
    assert str(path) in str(caught.value)
