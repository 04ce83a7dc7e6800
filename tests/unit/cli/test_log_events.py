"""Tests of log lines and of the progress display."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from asyncgg.cli.log_events import EventFormatter
from asyncgg.cli.progress import RateMeter, render_live, run_view
from asyncgg.events import (
    CoreSkipped,
    Progress,
    RateChanged,
    RateReason,
    RequestFailed,
    Stopping,
    ThingsFinished,
    Throttled,
)
from asyncgg.models import Operation

VIEW = run_view(Operation.DISASSOCIATE)
MOMENT = Progress(
    total=25_000,
    disassociated=5_000,
    already=0,
    failed=12,
    pending=19_988,
    in_flight=4,
    sent=60,
    throttled=3,
    retried=1,
    rate=29.6,
    ceiling=30.0,
    seconds=2.0,
    seconds_left=75.0,
    status="paused for 2 s",
)


def test_format_throttles_are_one_line_and_counted() -> None:
    """The first throttle is logged at once, the next line ten seconds later with a count."""
    formatter = EventFormatter()
    first = formatter.format(RateChanged(34.0, 31.2, RateReason.THROTTLED), 0.0)
    assert first is not None
    assert first.text == "throttled: slowing from 34.0 to 31.2 requests/s"
    assert first.fields == {"event": "rate", "rate": 31.2, "old": 34.0, "reason": "throttled"}
    assert formatter.format(Throttled("core-1", 2.0), 0.0) is None
    again = RateChanged(31.2, 25.0, RateReason.OVERLOADED)
    assert all(formatter.format(again, 0.01 * n) is None for n in range(500))
    later = formatter.format(again, 10.0)
    assert later is not None
    assert later.text == (
        "throttled again at once: slowing from 31.2 to 25.0 requests/s (500 similar messages suppressed)"
    )
    assert later.fields["suppressed"] == 500


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["A", "B"])), max_size=200))
def test_format_limits_lines_per_code(steps: list[tuple[float, str]]) -> None:
    """At most one line per code in ten seconds, and every event is counted."""
    formatter, now, printed, counted = EventFormatter(), 0.0, dict.fromkeys("AB", 0), 0
    for step, code in steps:
        now += step
        notice = formatter.format(RequestFailed("core", 1, code, "", "transient"), now)
        if notice is not None:
            printed[code] += 1
            counted += 1 + int(notice.fields.get("suppressed", 0))
    assert all(count <= now / 10 + 1 for count in printed.values())
    assert counted <= len(steps)


def test_format_logs_a_rise_only_after_a_large_recovery() -> None:
    """A rise is logged, with its reason, when the last logged rate is less than 80 % of it."""
    formatter = EventFormatter()
    assert formatter.format(RateChanged(30.0, 40.0, RateReason.ACCEPTED), 0.0) is None
    assert formatter.format(RateChanged(40.0, 15.0, RateReason.BLOCKED), 20.0) is not None
    assert formatter.format(RateChanged(15.0, 18.0, RateReason.ACCEPTED), 40.0) is None
    risen = formatter.format(RateChanged(18.0, 29.0, RateReason.QUIET), 60.0)
    assert risen is not None
    assert risen.text == "no throttle for a long time: speeding up from 18.0 to 29.0 requests/s"


def test_format_failed_request_says_whether_it_is_repeated() -> None:
    """A failure that counts says which attempt it was, and whether there is another one."""
    failed = RequestFailed("core-1", 76, "InternalServerException", "Try later.", "transient", 1, 10)
    texts = {}
    for attempt in (0, 1, 10):
        notice = EventFormatter().format(replace(failed, attempt=attempt), 0.0)
        assert notice is not None
        texts[attempt] = notice.text
    start, end = "core core-1: request with 76 things failed", ": InternalServerException: Try later."
    assert texts == {
        0: start + end,
        1: f"{start}, trying again (attempt 1 of 10){end}",
        10: f"{start} (attempt 10 of 10){end}",
    }


def test_format_skipped_core_is_logged_once() -> None:
    """The failed request before CoreSkipped is not logged."""
    formatter = EventFormatter()
    assert formatter.format(RequestFailed("c", 5, "ResourceNotFoundException", "no", "core missing"), 0.0) is None
    notice = formatter.format(CoreSkipped("c", "ResourceNotFoundException", "no", 5), 0.0)
    assert notice is not None
    assert notice.text == "skipping core c: 5 things marked failed: ResourceNotFoundException: no"


def test_format_logs_stopping_always_and_outcomes_never() -> None:
    """Stopping is not rate-limited; outcomes are shown by the bar."""
    formatter = EventFormatter()
    assert formatter.format(Stopping("x"), 0.0) is not None
    assert formatter.format(Stopping("x"), 0.0) is not None
    assert formatter.format(ThingsFinished(()), 0.0) is None


def test_rate_meter_covers_the_last_seconds() -> None:
    """A new rate is shown after three seconds; without requests the rate is zero."""
    meter = RateMeter(3.0)
    assert meter.update(0.0, 0, 30.0) == 0.0
    assert meter.update(1.0, 10, 30.0) == 10.0
    assert [round(meter.update(1.0 + n / 2, 10 + 20 * n, 30.0), 1) for n in range(1, 9)][-1] == 40.0
    assert [meter.update(5.0 + n, 170, 30.0) for n in range(1, 5)][-1] == 0.0


def test_rate_meter_covers_the_time_since_the_limit_changed() -> None:
    """A second after the limit fell from 30 to 10, the rate is that of this second."""
    meter = RateMeter(3.0)
    for second in range(4):
        assert meter.update(float(second), 30 * second, 30.0) <= 30.0
    meter.update(3.2, 96, 10.0)
    assert round(meter.update(4.2, 106, 10.0), 1) == 10.0


def test_run_view_formats_a_log_line() -> None:
    """Things, failures, rate, throttles, time left and status."""
    assert VIEW.format_line(MOMENT, 28.0) == (
        "5,012/25,000 things (20 %), 12 failed, 28 requests/s (limit 30, adapting), 3 throttled,"
        " 1 min 15 s left, paused for 2 s"
    )
    assert VIEW.to_dict(MOMENT, 28.0)["seconds_left"] == 75.0
    assert run_view(Operation.ASSOCIATE).to_dict(MOMENT, 28.0)["associated"] == 5_000
    finished = replace(MOMENT, disassociated=24_988, pending=0, status="")
    assert VIEW.format_line(finished, 0.0) == "25,000/25,000 things (100 %), 12 failed, 30.0 requests/s, 3 throttled"


def test_render_live_fits_the_width() -> None:
    """Two lines that do not wrap and the status, without escapes if there is no colour."""
    for width in (40, 80, 120):
        console = Console(width=width, force_terminal=True, no_color=True, color_system=None, legacy_windows=False)
        with console.capture() as capture:
            console.print(render_live(VIEW, MOMENT, 28.0))
        lines = capture.get().splitlines()
        assert len(lines) == 3
        assert all(len(line) <= width for line in lines)
        assert "5,012/25,000 things (20 %)" in lines[0]
        assert "12 failed" in lines[1]
        assert lines[2].rstrip() == "paused for 2 s"
