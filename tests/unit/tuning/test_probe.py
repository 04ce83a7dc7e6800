"""Rule: the live measurement on virtual time, against services whose quota it is not told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from asyncgg.errors import CredentialsError, ServiceError
from asyncgg.models import ErrorResponse, NoResponse
from asyncgg.testing import FakeService, JitteredLatency, Scenario, run_virtual
from asyncgg.tuning.probe import ProbeResult, QuotaProbe, max_requests
from asyncgg.tuning.probe_sender import ProbeOutcome, ProbeReply

pytestmark = pytest.mark.virtual

REALISTIC_LATENCY = JitteredLatency(0.06, 0.03)


async def run_probe(
    scenario: Scenario,
    *,
    max_rate: float = 200,
    seconds: float = 90,
    seed: int = 0,
    watch: Callable[[QuotaProbe, FakeService], object] = lambda probe, service: None,
) -> ProbeResult:
    """A measurement of a service that is played by this script."""
    service = FakeService(scenario, seed=seed)

    async def send() -> ProbeReply:
        reply = await service.send("", ())
        throttled = isinstance(reply, ErrorResponse) and reply.status == 429
        return ProbeReply(ProbeOutcome.THROTTLED if throttled else ProbeOutcome.ACCEPTED, reply if throttled else None)  # type: ignore[arg-type]  # throttled: it is a Refused

    probe = QuotaProbe(send, max_rate=max_rate, seconds=seconds)
    watch(probe, service)
    result = await probe.run()
    if result.complete:  # else some were still on their way
        assert (result.sent, result.throttled) == (service.sent, service.throttled)
    return result


@pytest.mark.parametrize("quota", [8, 30, 120])
@pytest.mark.parametrize("share", [0.25, 1, 3])
@pytest.mark.parametrize("latency", [REALISTIC_LATENCY, JitteredLatency(0.02, 0.005)], ids=["usual", "near"])
def test_it_finds_a_quota_it_was_not_told(quota: float, share: float, latency: JitteredLatency) -> None:
    """The rate within 5 %, the burst within 20 %, with 30 throttled calls at most, in the time allowed."""
    burst = max(2.0, quota * share)
    result = run_virtual(run_probe(Scenario(quota, burst, latency)))
    assert result.complete
    assert result.rate == pytest.approx(quota, rel=0.05)
    assert result.burst == pytest.approx(burst, rel=0.2)
    assert result.throttled <= 30
    assert result.seconds <= 90


async def test_what_others_use_is_missing() -> None:
    """Beside somebody who sends 12 of 30 requests a second, 18 are free."""
    result = await run_probe(Scenario(30, 30, REALISTIC_LATENCY, background_rate=12), max_rate=60)
    assert result.rate == pytest.approx(18, rel=0.05)


async def test_below_the_quota_nothing_is_claimed() -> None:
    """A ceiling under the quota is reached and kept, nothing is throttled, and no rate is told."""
    result = await run_probe(Scenario(100, 50, REALISTIC_LATENCY), max_rate=40)
    assert (result.rate, result.burst, result.throttled) == (None, None, 0)
    assert result.max_rate_tried == 40
    assert result.complete


@pytest.mark.parametrize("seconds", [1.5, 10, 25])
async def test_it_is_never_longer_than_allowed(seconds: float) -> None:
    """It ends in time, what is under way included, what was cut short says so, and the ceiling holds."""
    observed: list[FakeService] = []
    script = Scenario(150, 100, JitteredLatency(0.3, 0.1))
    result = await run_probe(script, max_rate=60, seconds=seconds, watch=lambda _, service: observed.append(service))
    assert result.seconds <= seconds + 0.01
    times = [one.sent_at for one in result.log]
    assert all(sum(begin <= at < begin + 1 for at in times) <= 61 for begin in times)
    assert result.sent <= max_requests(60, seconds) + 1


@pytest.mark.parametrize(("latency", "ends"), [(0.06, 4.1), (1.0, 5.1), (40.0, 9.1)])
async def test_it_can_be_stopped(latency: float, ends: float) -> None:
    """A stop lets what is under way end, for five seconds at most, and tells what was known by then."""
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    result = await run_probe(
        Scenario(8, 8, JitteredLatency(latency)), watch=lambda meter, _: loop.call_later(4, meter.stop)
    )
    assert not result.complete
    assert result.sent > 5
    assert loop.time() - started_at < ends


async def test_a_pause_that_is_asked_for_is_kept() -> None:
    """With Retry-After nothing is sent while it lasts, and a spilling burst makes the rate a lower bound."""
    result = await run_probe(Scenario(8, 2, REALISTIC_LATENCY, retry_after=2.0), max_rate=30)
    throttle_times = sorted(one.answered_at for one in result.log if one.outcome is ProbeOutcome.THROTTLED)
    assert not any(at < one.sent_at < at + 2.0 - 1e-6 for at in throttle_times for one in result.log)
    assert result.rate is not None
    assert result.rate <= 8.4
    assert result.is_lower_bound
    assert result.retry_after == 2.0


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (ErrorResponse(403, "AccessDeniedException", "not allowed"), CredentialsError, "greengrass:ListCoreDevices"),
        (ErrorResponse(400, "ValidationException", "no"), ServiceError, "does not accept"),
        (NoResponse("connect", "connection refused", sent=False), ServiceError, "connection refused"),
        (ErrorResponse(500, "InternalServerException", "oops"), ServiceError, "InternalServerException"),
    ],
)
async def test_a_service_that_cannot_be_measured_is_told(
    reply: ErrorResponse, error: type[Exception], words: str
) -> None:
    """A refused permission, an invalid request and silence each end it with a line that says so, after a few tries."""
    sent_count = 0

    async def ask() -> ProbeReply:
        nonlocal sent_count
        sent_count += 1
        await asyncio.sleep(0.05)
        return ProbeReply(ProbeOutcome.FAILED, reply)

    with pytest.raises(error, match=words):
        await QuotaProbe(ask, max_rate=50, seconds=30).run()
    assert sent_count <= 8


async def test_a_failure_now_and_then_does_no_harm() -> None:
    """One question in fifty fails, and the rate is still found."""
    service = FakeService(Scenario(30, 15, REALISTIC_LATENCY))

    async def ask() -> ProbeReply:
        reply = await service.send("", ())
        if service.sent % 50 == 0:
            return ProbeReply(ProbeOutcome.FAILED, NoResponse("reset", "connection reset", sent=True))
        return ProbeReply(ProbeOutcome.THROTTLED if isinstance(reply, ErrorResponse) else ProbeOutcome.ACCEPTED)

    result = await QuotaProbe(ask, max_rate=60, seconds=90).run()
    assert result.rate == pytest.approx(30, rel=0.05)
    assert result.failed > 3
