"""Tests of asyncgg.testing.fake_service and asyncgg.testing.scenario."""

from __future__ import annotations

import asyncio

import pytest

from asyncgg.engine import Lane
from asyncgg.errors import UsageError
from asyncgg.models import Accepted, ErrorResponse, NoResponse, Reply
from asyncgg.ratelimit import AdaptiveRate
from asyncgg.testing import (
    FakeService,
    JitteredLatency,
    RecordedLatency,
    Scenario,
    ScenarioFault,
    ScheduledChange,
    run_virtual,
)

pytestmark = pytest.mark.virtual


async def send_concurrently(service: FakeService, number: int) -> list[Reply]:
    """Send `number` requests at the same time."""
    return list(await asyncio.gather(*(service.send("core", ["thing"]) for _ in range(number))))


def throttled_count(replies: list[Reply]) -> int:
    """Count the throttled replies."""
    return sum(isinstance(reply, ErrorResponse) and reply.status == 429 for reply in replies)


async def test_send_beyond_burst_is_throttled_until_refill() -> None:
    """A full bucket of 5 takes five; after a second at 3/s it takes three."""
    service = FakeService(Scenario(quota=3, burst=5, latency=JitteredLatency(0.0)))
    assert throttled_count(await send_concurrently(service, 9)) == 4
    await asyncio.sleep(1)
    assert throttled_count(await send_concurrently(service, 9)) == 6
    assert (service.sent, service.throttled) == (18, 10)
    assert [request.throttled for request in service.log].count(True) == 10


async def test_send_takes_latency_and_is_decided_half_way() -> None:
    """The service decides on a request of 80 ms after 40 ms."""
    service = FakeService(Scenario(latency=JitteredLatency(0.08)))
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    await service.send("core", ["a", "b"])
    assert loop.time() - started_at == pytest.approx(0.08)
    (arrival,) = service.log
    assert arrival.at - started_at == pytest.approx(0.04)
    assert (arrival.core, arrival.things) == ("core", 2)


async def test_scheduled_changes_apply_at_their_time() -> None:
    """Tokens refill at the old quota until a change, then at the new one."""
    changes = (
        ScheduledChange(10, quota=20, burst=100),
        ScheduledChange(20, background_rate=15),
        ScheduledChange(30, latency=JitteredLatency(1.0)),
    )
    service = FakeService(Scenario(quota=2, burst=10, latency=JitteredLatency(0.0), changes=changes))
    await send_concurrently(service, 10)
    await asyncio.sleep(12)  # 10 (not 20: the burst) and then 2 s at 20/s
    assert 60 - throttled_count(await send_concurrently(service, 60)) == 50
    await asyncio.sleep(10)  # 8 s at 20/s would be 160, the burst 100
    assert 150 - throttled_count(await send_concurrently(service, 150)) == 100
    await asyncio.sleep(4)
    assert 50 - throttled_count(await send_concurrently(service, 50)) == 20
    await asyncio.sleep(6)
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    await send_concurrently(service, 1)
    assert loop.time() - started_at == pytest.approx(1.0)


async def test_faults_apply_by_number_and_share() -> None:
    """The second request is reset, and about a tenth of the others fail."""
    lost = NoResponse("reset", "connection reset", sent=True)
    faults = (ScenarioFault(lost, request_numbers=frozenset({2})), ScenarioFault(share=0.1))
    service = FakeService(Scenario(quota=float("inf"), latency=JitteredLatency(0.0), faults=faults))
    replies = await send_concurrently(service, 1000)
    assert replies[1] == lost
    failed = sum(isinstance(reply, ErrorResponse) for reply in replies)
    assert 70 < failed < 130
    assert service.injected_faults == failed + 1
    assert sum(isinstance(reply, Accepted) for reply in replies) == 999 - failed


async def test_throttle_has_retry_after() -> None:
    """The reply of a throttle has the configured Retry-After."""
    service = FakeService(Scenario(burst=1, retry_after=2.0))
    _, second = await send_concurrently(service, 2)
    assert isinstance(second, ErrorResponse)
    assert second.retry_after == 2.0


def test_same_seed_gives_same_latencies() -> None:
    """One seed repeats its latencies, another seed has different ones."""

    async def arrival_times(seed: int) -> list[float]:
        service = FakeService(Scenario(latency=JitteredLatency(0.01, 0.05)), seed=seed)
        await send_concurrently(service, 20)
        return [request.at for request in service.log]

    assert run_virtual(arrival_times(1)) == run_virtual(arrival_times(1)) != run_virtual(arrival_times(2))


async def test_recorded_latency_draws_recorded_values() -> None:
    """Only recorded latencies occur."""
    service = FakeService(Scenario(latency=RecordedLatency((0.1, 0.3))))
    loop = asyncio.get_running_loop()
    observed = set()
    for _ in range(30):
        started_at = loop.time()
        await service.send("core", ["thing"])
        observed.add(round(loop.time() - started_at, 6))
    assert observed == {0.1, 0.3}


async def test_lane_sends_at_its_rate() -> None:
    """A lane needs 1.6 s for ten requests at 5/s with a burst of 2."""
    service = FakeService(Scenario(quota=5, burst=5, latency=JitteredLatency(0.0)))
    lane = Lane(service, AdaptiveRate(5.0, documented=10.0, burst=2))
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    for _ in range(10):
        await lane.acquire()
        assert isinstance(await lane.transport.send("core", ["thing"]), Accepted)
    assert loop.time() - started_at == pytest.approx(1.6)
    assert service.max_in_flight == 1


@pytest.mark.parametrize(
    "invalid",
    [
        {"quota": 0},
        {"burst": 0.5},
        {"background_rate": -1},
        {"changes": (ScheduledChange(-1.0),)},
        {"changes": (ScheduledChange(1.0, quota=float("nan")),)},
    ],
)
def test_scenario_invalid_value_raises(invalid: dict[str, object]) -> None:
    """Invalid values are usage errors."""
    with pytest.raises(UsageError):
        Scenario(**invalid)  # type: ignore[arg-type]  # invalid on purpose
    for make in (lambda: JitteredLatency(-1), lambda: RecordedLatency(()), lambda: ScenarioFault(share=2)):
        with pytest.raises(UsageError):
            make()
