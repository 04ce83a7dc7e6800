"""The alerts and the dashboard under deploy/ are valid, and use metrics that the program has."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import CollectorRegistry, generate_latest

from asyncgg.events import Event, RunEnded, RunStarted
from asyncgg.models import RunState
from asyncgg.telemetry.metrics import MetricsCollector
from tests.unit.cli.test_log_events import MOMENT
from tests.unit.telemetry.test_event_log import LABELS, REQUEST
from tests.unit.telemetry.test_metrics import SCAN, parse_metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES, RULE_TESTS = DEPLOY / "prometheus" / "asyncgg.rules.yml", DEPLOY / "prometheus" / "asyncgg.rules.test.yml"
DASHBOARD = DEPLOY / "grafana" / "asyncgg.json"
VARIABLES = {"$__rate_interval": "1m", "$account": ".*", "$region": ".*", "$policy": ".*"}

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not installed")


def run_promtool(*arguments: str | Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool, with `text` as its standard input."""
    return subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, check=False)


def metrics_text() -> str:
    """All metrics that the program has, as text."""
    texts = []
    for progress in (MOMENT, SCAN):
        collector, registry = MetricsCollector(LABELS), CollectorRegistry()
        registry.register(collector)
        events: list[Event] = [RunStarted("run-1", 1, 1), REQUEST, RunEnded(RunState.COMPLETE, "")]
        for event in events:
            collector(event)
        collector.update(progress)
        texts.append(generate_latest(registry).decode())
    return "".join(texts)


@cache
def known_labels() -> dict[str, set[str]]:
    """The labels of every metric of the program."""
    labels: dict[str, set[str]] = {}
    for name, own in parse_metrics(metrics_text()):
        labels.setdefault(name, set()).update(dict(own))
    return labels


def expressions() -> Iterator[str]:
    """Every PromQL expression of the alerts and of the dashboard, with values for its variables."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            text = target["expr"]
            for name, value in VARIABLES.items():
                text = text.replace(name, value)
            yield text


def check_expression(text: str) -> None:
    """Fail unless the expression parses and names metrics and labels of the program."""
    promql_parser.parse(text)
    names = set(re.findall(r"\basyncgg_\w+", text))
    assert names
    for name in names:
        assert name in known_labels(), name
    for name, selectors in re.findall(r"\b(asyncgg_\w+)\{([^}]*)\}", text):
        assert set(re.findall(r"(\w+)\s*[=!]", selectors)) <= known_labels()[name], text
    for grouped in re.findall(r"\b(?:by|on) \(([^)]*)\)", text):
        assert set(grouped.split(", ")) <= set.union(*(known_labels()[name] for name in names)), text


@pytest.mark.parametrize("text", list(expressions()))
def test_expression_is_valid_and_names_existing_metrics(text: str) -> None:
    """Each expression parses, and its metrics and labels exist."""
    check_expression(text)


@pytest.mark.parametrize("text", ["sum(asyncgg_things", "asyncgg_thing > 0", 'asyncgg_things{status="failed"} > 0'])
def test_the_check_finds_a_wrong_expression(text: str) -> None:
    """A syntax error, an unknown metric and an unknown label are found."""
    with pytest.raises((ValueError, AssertionError)):
        check_expression(text)


def lost_members(given: Any, kept: Any, path: str = "") -> Iterator[str]:
    """The members of a document that another one lacks or has with another value."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            yield from lost_members(value, kept.get(name, f"no {name}"), f"{path}/{name}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (value, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost_members(value, other, f"{path}[{number}]")
    elif given != kept:
        yield path


def unknown_to_grafana(dashboard: dict[str, Any]) -> list[str]:
    """The members of a dashboard that are not in Grafana's own data model."""
    register_default_plugins()
    kept = json.loads(JSONEncoder().encode(Dashboard.from_json(copy.deepcopy(dashboard))))
    return list(lost_members(dashboard, kept))


def test_dashboard_follows_the_data_model_of_grafana() -> None:
    """Grafana's library reads and writes the dashboard without losing a member; a wrong member is found."""
    dashboard = json.loads(DASHBOARD.read_text())
    assert unknown_to_grafana(dashboard) == []
    dashboard["panels"][0]["gridpos"] = {}
    dashboard["templating"]["list"][1]["multy"] = True
    assert unknown_to_grafana(dashboard) == ["/templating/list[1]/multy", "/panels[0]/gridpos"]


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    """Each cell of the grid of 24 columns belongs to one panel at most, and each panel has its own id."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    positions = [panel["gridPos"] for panel in panels]
    cells = [
        (column, row)
        for position in positions
        for column in range(position["x"], position["x"] + position["w"])
        for row in range(position["y"], position["y"] + position["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(column for column, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


@needs_promtool
def test_rules_pass_promtool() -> None:
    """promtool accepts the rules, and their unit tests pass."""
    checked = run_promtool("check", "rules", RULES)
    assert checked.returncode == 0, checked.stderr
    tested = run_promtool("test", "rules", RULE_TESTS)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_is_tested() -> None:
    """The unit tests of the rules have a case in which each alert fires."""
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    cases = [case for test in yaml.safe_load(RULE_TESTS.read_text())["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts


@needs_promtool
def test_metrics_pass_the_linter_of_promtool() -> None:
    """Names, units and help texts follow the conventions of Prometheus."""
    checked = run_promtool("check", "metrics", text="".join(dict.fromkeys(metrics_text().splitlines(keepends=True))))
    assert checked.returncode == 0, checked.stdout + checked.stderr
