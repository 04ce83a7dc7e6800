"""Metrics and logs of `asyncgg cleanup`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asyncgg.simulator import FleetSpec
from tests.integration.cli.conftest import StartSimulator, cli, serve
from tests.integration.cli.test_metrics import DISASSOCIATE, read_metrics, total
from tests.support.command_line import CommandRunner

__all__ = ["cli", "serve"]

pytestmark = pytest.mark.usefixtures("no_fsync")

FLEET = FleetSpec.from_things({f"core-{c}": [f"tmp-{c}-{t}" for t in range(5)] for c in range(4)}, 1000.0)
OPTIONS = ("--json", "--quiet", "--rate", 500, "--metrics-file", "run.prom", "--log-requests", "requests.jsonl")


@pytest.fixture(autouse=True)
def work_in_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Relative paths are in the folder of the test."""
    monkeypatch.chdir(tmp_path)


def write_policy(folder: Path, guards: str = "", name: str = "tmp-*") -> Path:
    """A policy that selects things by name."""
    path = folder / "nightly.toml"
    path.write_text(f"[guards]\n{guards}\n[[rule]]\nid = 'leftovers'\nname = '{name}'\n")
    return path


def test_scans_canary_and_rest_count_together(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """The counters have the requests of all steps under the name of the policy, and so has the request log."""
    simulator = serve(FLEET)
    result = cli("cleanup", write_policy(tmp_path, "canary = 3"), *OPTIONS)
    assert result.code == 0, result.err
    samples = read_metrics()
    served = sum(simulator.service.counters.requests.values())
    assert total(samples, "asyncgg_requests_total", policy="nightly") == served
    sent = result.json["run"]["requests"]["sent"]
    assert total(samples, "asyncgg_requests_total", operation=DISASSOCIATE) == sent
    assert total(samples, "asyncgg_things", state="disassociated") == 20
    assert total(samples, "asyncgg_run_state", state="complete") == 1
    lines = [json.loads(line) for line in Path("requests.jsonl").read_text().splitlines()]
    assert len(lines) == served
    assert {line["policy"] for line in lines} == {"nightly"}


@pytest.mark.parametrize(
    ("guards", "name", "code", "state"),
    [("max-things = 5", "tmp-*", 4, "aborted"), ("", "nothing", 0, "complete")],
)
def test_cleanup_without_a_run_has_its_state(
    cli: CommandRunner, serve: StartSimulator, tmp_path: Path, guards: str, name: str, code: int, state: str
) -> None:
    """A clean-up that a guard stopped is aborted, one that selects nothing is complete, which alerts need."""
    serve(FLEET)
    assert cli("cleanup", write_policy(tmp_path, guards, name), *OPTIONS).code == code
    samples = read_metrics()
    assert total(samples, "asyncgg_run_state", state=state) == total(samples, "asyncgg_run_state") == 1
    assert total(samples, "asyncgg_run_end_time_seconds", policy="nightly") > 0


def test_dry_run_has_no_state(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """A dry run has the requests of its scan, but neither state nor end."""
    serve(FLEET)
    assert cli("cleanup", write_policy(tmp_path), *OPTIONS, "--dry-run").code == 0
    samples = read_metrics()
    assert total(samples, "asyncgg_requests_total") > 0
    assert not [name for name, _ in samples if name.startswith("asyncgg_run")]
