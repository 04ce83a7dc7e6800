"""Tests of the records that events become in `logging`."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from asyncgg import events
from asyncgg.models import Outcome, RunState, ThingState
from asyncgg.telemetry.event_log import EventLogger
from asyncgg.telemetry.labels import TelemetryLabels

LABELS = TelemetryLabels("disassociate", "123456789012", "eu-west-1", "nightly")
REQUEST = events.RequestFinished(
    operation="BatchDisassociateClientDeviceFromCoreDevice",
    core="core-1",
    things=100,
    batch=7,
    attempt=2,
    verdict="transient",
    status=500,
    code="InternalServerException",
    message="try later",
    request_id="id-1",
    failed_things=0,
    finished_at=1.0,
    seconds=0.25,
)
EVENTS: list[tuple[events.Event, int | None]] = [
    (events.RunStarted("run-1", 10, 1), logging.INFO),
    (events.RateChanged(30.0, 20.0, events.RateReason.THROTTLED), logging.INFO),
    (events.RateChanged(20.0, 30.0, events.RateReason.ACCEPTED), logging.INFO),
    (events.SendingPaused("throttled", 1.0), logging.WARNING),
    (REQUEST, logging.DEBUG),
    (events.BatchFinished(7, "core-1", 98, 1, 1, 0), logging.DEBUG),
    (events.RequestFailed("core-1", 1, "X", "text", "lost"), logging.WARNING),
    (events.CoreSkipped("core-1", "X", "text", 1), logging.WARNING),
    (events.PageFailed("", "X", "text"), logging.WARNING),
    (events.CoreScanFailed("core-1", "denied", "X", "text"), logging.WARNING),
    (events.InvalidNames("core-1", ("a b",)), logging.WARNING),
    (events.Stopping("deadline"), logging.WARNING),
    (events.RunEnded(RunState.COMPLETE, ""), logging.INFO),
    (events.ScanEnded(RunState.COMPLETE, ""), logging.INFO),
    (events.Throttled("core-1", None), None),
    (events.ThingsFinished((Outcome("core-1", "a", ThingState.FAILED, "X"),)), None),
]


def log(event: events.Event, caplog: pytest.LogCaptureFixture) -> list[Any]:
    """The records of an event of a run that has started."""
    logger = EventLogger(LABELS)
    with caplog.at_level(logging.CRITICAL, "asyncgg"):
        logger(events.RunStarted("run-1", 10, 1))
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "asyncgg"):
        logger(event)
    return caplog.records


@pytest.mark.parametrize(("event", "level"), EVENTS, ids=[type(event).__name__ for event, _ in EVENTS])
def test_event_becomes_one_record_of_its_level(
    event: events.Event, level: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Each event but those that another event repeats is one record, with the run and its labels."""
    records = log(event, caplog)
    assert [record.levelno for record in records] == ([] if level is None else [level])
    for record in records:
        assert (record.run, record.account, record.region, record.policy) == (
            "run-1",
            "123456789012",
            "eu-west-1",
            "nightly",
        )
        assert record.event
        assert "\n" not in record.getMessage()


def test_every_event_type_is_tested() -> None:
    """The list above has every event, so that a new one gets a decision."""
    names = {subclass.__name__ for subclass in events.Event.__subclasses__()}
    assert {type(event).__name__ for event, _ in EVENTS} == names


def test_request_record_has_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    """A request has core, batch, attempt, status, request ID, code and duration as attributes."""
    (record,) = log(REQUEST, caplog)
    assert record.name == "asyncgg.request"
    assert (record.core, record.batch, record.attempt, record.status) == ("core-1", 7, 2, 500)
    assert (record.request_id, record.code, record.detail) == ("id-1", "InternalServerException", "try later")
    assert (record.result, record.seconds) == ("failed", 0.25)


def test_rate_change_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    """A rate decision names both rates and why."""
    (record,) = log(events.RateChanged(30.0, 20.0, events.RateReason.BLOCKED), caplog)
    assert (record.old, record.rate, record.reason) == (30.0, 20.0, "nothing accepted since the throttle")


@pytest.mark.parametrize(("level", "wanted"), [(logging.INFO, False), (logging.DEBUG, True)])
def test_requests_are_wanted_only_with_debug(level: int, wanted: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Without DEBUG the events of requests are not even created."""
    with caplog.at_level(level, "asyncgg"):
        assert (events.RequestFinished in EventLogger(LABELS).event_types) is wanted
