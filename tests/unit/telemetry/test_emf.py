"""Tests of metrics in the embedded metric format of CloudWatch."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from asyncgg.events import Event, RunEnded, RunStarted
from asyncgg.models import RunState
from asyncgg.telemetry.emf import EmbeddedMetrics
from asyncgg.telemetry.log_records import JsonFormatter
from tests.unit.cli.test_log_events import MOMENT
from tests.unit.telemetry.test_event_log import LABELS, REQUEST

UNITS = ["Seconds", "Count", "Count/Second"]
NAME = {"type": "string", "minLength": 1, "maxLength": 1024}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer", "minimum": 0},
                "CloudWatchMetrics": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "properties": {
                            "Namespace": NAME,
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {"type": "array", "maxItems": 30, "items": {"type": "string"}},
                            },
                            "Metrics": {
                                "type": "array",
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "properties": {"Name": NAME, "Unit": {"enum": UNITS}},
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}
"""The rules of the embedded metric format specification in the CloudWatch user guide, with the units used here."""


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@contextmanager
def metric_lines() -> Iterator[list[dict[str, Any]]]:
    """The metric lines that are logged during the block."""
    logger, handler = logging.getLogger("asyncgg.metrics"), _Lines()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def validate(line: dict[str, Any]) -> None:
    """Fail unless the line follows the specification, also in what a schema cannot express."""
    jsonschema.validate(line, SCHEMA)
    (definition,) = line["_aws"]["CloudWatchMetrics"]
    for dimension in definition["Dimensions"][0]:
        assert isinstance(line[dimension], str)
        assert 1 <= len(line[dimension]) <= 1024
    for metric in definition["Metrics"]:
        values = line[metric["Name"]]
        values = values if isinstance(values, list) else [values]
        assert 1 <= len(values) <= 100
        assert all(isinstance(value, int | float) for value in values)


def test_lines_follow_the_specification_and_add_up() -> None:
    """250 requests are three lines at most 100 durations long, whose counts add up to the events."""
    progress = iter([MOMENT, *(replace(MOMENT, disassociated=5_000 + done, failed=13) for done in (1, 4, 9, 9))])
    verdicts = ["accepted"] * 200 + ["throttled"] * 30 + ["lost"] * 20
    stream: list[Event] = [RunStarted("run-1", 2, 1), *(replace(REQUEST, verdict=verdict) for verdict in verdicts)]
    with metric_lines() as lines, EmbeddedMetrics(LABELS, lambda: next(progress)) as listener:
        for event in (*stream, RunEnded(RunState.PARTIAL, "")):
            listener(event)
    for line in lines:
        validate(line)
    assert [len(line["RequestDuration"]) for line in lines] == [100, 100, 50]
    totals = {
        name: sum(line[name] for line in lines)
        for name in ("RequestsAccepted", "RequestsThrottled", "RequestsFailed", "ThingsChanged", "ThingsFailed")
    }
    assert list(totals.values()) == [200, 30, 20, 9, 1]
    assert {(line["run"], line["Operation"], line["Policy"], line["Rate"]) for line in lines} == {
        ("run-1", "disassociate", "nightly", 29.6)
    }


def test_slow_run_writes_a_line_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few requests are not held back until there are a hundred."""
    times = iter([0.0, 1.0, 9.0, 10.0, 10.0, 11.0, 11.0])  # the creation, each request, each line
    monkeypatch.setattr("asyncgg.telemetry.emf.time.monotonic", lambda: next(times))
    with metric_lines() as lines, EmbeddedMetrics(LABELS, lambda: None) as listener:
        for _ in range(4):
            listener(REQUEST)
        assert [len(line["RequestDuration"]) for line in lines] == [3]
    assert [len(line["RequestDuration"]) for line in lines] == [3, 1]
