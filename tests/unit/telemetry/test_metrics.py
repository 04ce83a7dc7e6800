"""Tests of the metrics against the parsers of prometheus-client."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from asyncgg.events import Event, Progress, RunEnded, RunStarted
from asyncgg.inventory import ScanProgress
from asyncgg.models import RunState
from asyncgg.telemetry.labels import TelemetryLabels
from asyncgg.telemetry.metrics import MetricsCollector
from tests.unit.cli.test_log_events import MOMENT
from tests.unit.telemetry.test_event_log import LABELS, REQUEST

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
COMMON = {"account": "123456789012", "region": "eu-west-1", "policy": "nightly"}
SCAN = ScanProgress(
    cores=10,
    finished=4,
    associations=30,
    sent=5,
    throttled=0,
    retried=0,
    in_flight=1,
    requests_left=6,
    open_ended=False,
    rate=30.0,
    ceiling=30.0,
    seconds=1.0,
    status="",
)


def parse_metrics(text: str) -> Samples:
    """The samples of a text of metrics, by name and labels."""
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation and family.type != "unknown" for family in families)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def collect(events: list[Event], progress: Progress | ScanProgress | None, labels: TelemetryLabels = LABELS) -> Samples:
    """What the collector returns after these events."""
    collector, registry = MetricsCollector(labels), CollectorRegistry()
    registry.register(collector)
    collector.begin(labels)
    for event in events:
        collector(event)
    collector.update(progress)
    openmetrics = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]  # has no types
    list(parse_openmetrics(openmetrics))  # type: ignore[no-untyped-call]  # has no types; raises for invalid metrics
    return parse_metrics(generate_latest(registry).decode())


def value(samples: Samples, name: str, **labels: str) -> float:
    """The value of one sample."""
    return samples[name, frozenset((COMMON | labels).items())]


def test_requests_are_counted_by_result_and_duration() -> None:
    """Each verdict has one of three results, and the histogram is cumulative."""
    verdicts = ["accepted"] * 5 + ["throttled"] * 3 + ["lost", "core denied"]
    requests = [replace(REQUEST, verdict=verdict, seconds=0.05 * number) for number, verdict in enumerate(verdicts)]
    samples = collect([RunStarted("run-1", 10, 1), *requests], MOMENT)
    operation = REQUEST.operation
    results = {
        result: value(samples, "asyncgg_requests_total", operation=operation, result=result)
        for result in ("accepted", "throttled", "failed")
    }
    assert results == {"accepted": 5, "throttled": 3, "failed": 2}
    buckets = {
        bound: value(samples, "asyncgg_request_duration_seconds_bucket", operation=operation, le=bound)
        for bound in ("0.025", "0.05", "0.1", "0.2", "0.4", "+Inf")
    }
    assert buckets == {"0.025": 1, "0.05": 2, "0.1": 3, "0.2": 5, "0.4": 9, "+Inf": 10}
    assert value(samples, "asyncgg_request_duration_seconds_count", operation=operation) == 10
    assert value(samples, "asyncgg_request_duration_seconds_sum", operation=operation) == pytest.approx(2.25)


def test_progress_is_shown_as_gauges() -> None:
    """Rates, requests in flight and the things by state are those of the progress."""
    samples = collect([RunStarted("run-1", 10, 1)], MOMENT)
    assert value(samples, "asyncgg_rate_requests_per_second") == 29.6
    assert value(samples, "asyncgg_rate_ceiling_requests_per_second") == 30.0
    assert value(samples, "asyncgg_requests_in_flight") == 4
    things = {
        state: value(samples, "asyncgg_things", state=state)
        for state in ("disassociated", "already", "failed", "pending")
    }
    assert things == {"disassociated": 5_000, "already": 0, "failed": 12, "pending": 19_988}


@pytest.mark.parametrize("state", [RunState.COMPLETE, RunState.ABORTED])
def test_run_has_its_state_and_times(state: RunState) -> None:
    """Exactly one state is 1; the end is missing while the run sends."""
    started = [RunStarted("run-1", 10, 1)]
    running, ended = collect([*started], None), collect([*started, RunEnded(state, "")], None)
    assert value(running, "asyncgg_run_state", state="running") == 1
    assert ("asyncgg_run_end_time_seconds", frozenset(COMMON.items())) not in running
    states = {dict(labels)["state"]: number for (name, labels), number in ended.items() if name == "asyncgg_run_state"}
    assert [name for name, number in states.items() if number] == [state.value]
    assert value(ended, "asyncgg_run_end_time_seconds") >= value(ended, "asyncgg_run_start_time_seconds") > 0
    (info,) = [dict(labels) for name, labels in ended if name == "asyncgg_run_info"]
    assert (info["run"], info["operation"]) == ("run-1", "disassociate")


def test_undo_counts_associated_things() -> None:
    """The state of the things that an undo changed is `associated`."""
    samples = collect([], MOMENT, replace(LABELS, work="associate"))
    assert value(samples, "asyncgg_things", state="associated") == 5_000


def test_scan_has_its_cores() -> None:
    """A scan has cores and associations instead of things, and no run."""
    samples = collect([replace(REQUEST, operation="ListCoreDevices", batch=0)], SCAN, replace(LABELS, work="scan"))
    assert value(samples, "asyncgg_scan_cores", state="listed") == 4
    assert value(samples, "asyncgg_scan_cores", state="waiting") == 6
    assert value(samples, "asyncgg_scan_associations") == 30
    assert not [name for name, _ in samples if name.startswith(("asyncgg_run", "asyncgg_things"))]


def test_labels_with_special_characters_are_escaped() -> None:
    """The name of a policy can contain anything."""
    samples = collect([RunStarted("run-1", 1, 1)], None, replace(LABELS, policy='a"b\\c\nd'))
    assert any(("policy", 'a"b\\c\nd') in labels for _, labels in samples)
