"""Tests of asyncgg.tuning.probe on the virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from asyncgg.errors import CredentialsError, ServiceError
from asyncgg.models import ErrorResponse, NoResponse, Reply
from asyncgg.service_limiters import LimiterKind, LimiterSpec
from asyncgg.testing import FakeService, JitteredLatency, Scenario, run_virtual
from asyncgg.transport import Endpoint
from asyncgg.tuning.probe import ProbeResult, QuotaProbe, max_requests
from asyncgg.tuning.probe_report import ProbeReport, format_probe, measured_settings, probe_to_dict
from asyncgg.tuning.probe_sender import ProbeOutcome

pytestmark = pytest.mark.virtual

ENDPOINT = Endpoint("eu-west-1", "http://127.0.0.1", True, "aws", "endpoint_url")
REALISTIC_LATENCY = JitteredLatency(0.06, 0.03)


async def run_probe(
    scenario: Scenario,
    *,
    max_rate: float = 200,
    seconds: float = 90,
    seed: int = 0,
    watch: Callable[[QuotaProbe, FakeService], object] = lambda probe, service: None,
) -> ProbeResult:
    """Measure a fake service with this scenario."""
    service = FakeService(scenario, seed=seed)

    probe = QuotaProbe(partial(service.send, "", ()), max_rate=max_rate, seconds=seconds)
    watch(probe, service)
    result = await probe.run()
    if result.complete:  # otherwise requests were in flight at the end
        assert (result.sent, result.throttled) == (service.sent, service.throttled)
    return result


@pytest.mark.parametrize("quota", [8, 30, 120])
@pytest.mark.parametrize("share", [0.25, 1, 3])
@pytest.mark.parametrize("latency", [REALISTIC_LATENCY, JitteredLatency(0.02, 0.005)], ids=["usual", "near"])
def test_probe_unknown_quota_measures_rate_and_burst(quota: float, share: float, latency: JitteredLatency) -> None:
    """The rate is within 5 % and the burst within 20 %, with at most 45 throttled requests."""
    burst = max(2.0, quota * share)
    result = run_virtual(run_probe(Scenario(quota, burst, latency)))
    assert result.complete
    assert result.rate == pytest.approx(quota, rel=0.05)
    assert result.burst == pytest.approx(burst, rel=0.2)
    assert result.throttled <= 45
    assert result.limiter is not None
    assert result.limiter.kind is LimiterKind.TOKEN_BUCKET
    assert result.seconds <= 90


@pytest.mark.parametrize("latency", [REALISTIC_LATENCY, JitteredLatency(0.25, 0.05)], ids=["usual", "far"])
@pytest.mark.parametrize(
    ("kind", "margin", "counted"),
    [
        (LimiterKind.FIXED_WINDOW, 0, "in fixed windows of 1 s"),
        (LimiterKind.SLIDING_WINDOW, 1, "in a sliding window of 1 s"),
        (LimiterKind.DELAYED, 1, "in a sliding window of 1 s, counted 0.5 s late"),
    ],
    ids=str,
)
def test_probe_recognizes_a_service_that_counts_in_windows(
    kind: LimiterKind, margin: float, counted: str, latency: JitteredLatency
) -> None:
    """Kind, limit and delay are found, and the rate for evenly spaced requests is recommended."""
    result = run_virtual(run_probe(Scenario(30, 30, latency, limiter=LimiterSpec(kind)), max_rate=60))
    assert result.rate is not None
    assert result.rate == pytest.approx(30, abs=1)
    assert result.burst is None
    report = ProbeReport(result, ENDPOINT, documented=30)
    settings = measured_settings(report)
    assert settings is not None
    assert (settings.rate, settings.burst) == (result.rate - margin, None)
    assert f"limiter    seems to admit {result.rate:g} requests/s {counted}" in format_probe(report)
    assert probe_to_dict(report)["limiter"] == kind.value


@pytest.mark.parametrize("seed", range(3))
def test_probe_at_partitions_recommends_no_rate_above_the_quota(seed: int) -> None:
    """Partitions are recognized, or the report says what else it could be."""
    limiter = LimiterSpec(LimiterKind.PARTITIONED)
    result = run_virtual(run_probe(Scenario(30, 50, REALISTIC_LATENCY, limiter=limiter), max_rate=60, seed=seed))
    report = ProbeReport(result, ENDPOINT, documented=30)
    settings = measured_settings(report)
    assert settings is not None
    assert 20 < settings.rate <= 30
    assert "partitioned" in probe_to_dict(report)["limiter_candidates"]
    assert any(
        line.startswith(("limiter    not clear: ", "limiter    seems to admit")) for line in format_probe(report)
    )


async def test_probe_shared_quota_measures_the_free_part() -> None:
    """If other clients send 12 of 30 requests per second, the rate is 18."""
    result = await run_probe(Scenario(30, 30, REALISTIC_LATENCY, background_rate=12), max_rate=60)
    assert result.rate == pytest.approx(18, rel=0.05)


async def test_probe_max_rate_below_quota_finds_no_rate() -> None:
    """The probe reaches the maximum rate, no request is throttled, and the rate is None."""
    result = await run_probe(Scenario(100, 50, REALISTIC_LATENCY), max_rate=40)
    assert (result.rate, result.burst, result.throttled) == (None, None, 0)
    assert result.max_rate_tried == 40
    assert result.complete


@pytest.mark.parametrize("seconds", [1.5, 10, 25])
async def test_probe_keeps_duration_and_max_rate(seconds: float) -> None:
    """The probe ends in time, requests in flight included, and never exceeds the maximum rate."""
    observed: list[FakeService] = []
    scenario = Scenario(150, 100, JitteredLatency(0.3, 0.1))
    result = await run_probe(scenario, max_rate=60, seconds=seconds, watch=lambda _, service: observed.append(service))
    assert result.seconds <= seconds + 0.01
    times = [request.sent_at for request in result.log]
    assert all(sum(start <= at < start + 1 for at in times) <= 61 for start in times)
    assert result.sent <= max_requests(60, seconds) + 1


@pytest.mark.parametrize(("latency", "ends"), [(0.06, 4.1), (1.0, 5.1), (40.0, 9.1)])
async def test_probe_stop_gives_partial_result(latency: float, ends: float) -> None:
    """After `stop`, the probe waits at most five seconds for requests in flight."""
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    result = await run_probe(
        Scenario(8, 8, JitteredLatency(latency)), watch=lambda probe, _: loop.call_later(4, probe.stop)
    )
    assert not result.complete
    assert result.sent > 5
    assert loop.time() - started_at < ends


async def test_probe_retry_after_is_respected() -> None:
    """No request is sent during Retry-After; the overflow makes the rate a lower bound."""
    result = await run_probe(Scenario(8, 2, REALISTIC_LATENCY, retry_after=2.0), max_rate=30)
    throttle_times = sorted(row.answered_at for row in result.log if row.outcome is ProbeOutcome.THROTTLED)
    assert not any(at < row.sent_at < at + 2.0 - 1e-6 for at in throttle_times for row in result.log)
    assert result.rate is not None
    assert result.rate <= 8.4
    assert result.is_lower_bound
    assert result.retry_after == 2.0


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        (ErrorResponse(403, "AccessDeniedException", "not allowed"), CredentialsError, "greengrass:ListCoreDevices"),
        (ErrorResponse(400, "ValidationException", "no"), ServiceError, "rejected"),
        (
            ErrorResponse(403, "InvalidSignatureException", "x-amz-security-token:SECRET\nhost:\x1b[31m"),
            CredentialsError,
            r"denied: InvalidSignatureException: x-amz-security-token:\*\*\* host:\\x1b",
        ),
        (NoResponse("connect", "connection refused", sent=False), ServiceError, "connection refused"),
        (ErrorResponse(500, "InternalServerException", "oops"), ServiceError, "InternalServerException"),
    ],
)
async def test_probe_failing_service_raises(reply: ErrorResponse, error: type[Exception], message: str) -> None:
    """Access denied, an invalid request and no reply end the probe after a few requests."""
    sent_count = 0

    async def send() -> Reply:
        nonlocal sent_count
        sent_count += 1
        await asyncio.sleep(0.05)
        return reply

    with pytest.raises(error, match=message):
        await QuotaProbe(send, max_rate=50, seconds=30).run()
    assert sent_count <= 8


async def test_probe_rare_failures_are_tolerated() -> None:
    """If one request in fifty fails, the rate is still found."""
    service = FakeService(Scenario(30, 15, REALISTIC_LATENCY))

    async def send() -> Reply:
        reply = await service.send("", ())
        return reply if service.sent % 50 else NoResponse("reset", "connection reset", sent=True)

    result = await QuotaProbe(send, max_rate=60, seconds=90).run()
    assert result.rate == pytest.approx(30, rel=0.05)
    assert result.failed > 3
