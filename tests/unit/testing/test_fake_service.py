"""Rule: what a scripted service does with its script: quota, burst, latency, steps, faults, others."""

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
    """So many requests at once."""
    return list(await asyncio.gather(*(service.send("core", ["thing"]) for _ in range(number))))


def throttled_count(replies: list[Reply]) -> int:
    """How many of them were."""
    return sum(isinstance(reply, ErrorResponse) and reply.status == 429 for reply in replies)


async def test_the_burst_is_there_at_once_and_comes_back_with_the_quota() -> None:
    """A full bucket of 5 takes five; after a second at 3/s it takes three."""
    service = FakeService(Scenario(quota=3, burst=5, latency=JitteredLatency(0.0)))
    assert throttled_count(await send_concurrently(service, 9)) == 4
    await asyncio.sleep(1)
    assert throttled_count(await send_concurrently(service, 9)) == 6
    assert (service.sent, service.throttled) == (18, 10)
    assert [one.throttled for one in service.log].count(True) == 10


async def test_an_answer_takes_its_latency_and_the_service_decides_half_way() -> None:
    """A request of 80 ms is decided on after 40."""
    service = FakeService(Scenario(latency=JitteredLatency(0.08)))
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    await service.send("core", ["a", "b"])
    assert loop.time() - started_at == pytest.approx(0.08)
    (arrival,) = service.log
    assert arrival.at - started_at == pytest.approx(0.04)
    assert (arrival.core, arrival.things) == ("core", 2)


async def test_a_step_changes_what_it_names_when_it_is_due() -> None:
    """The tokens until the step come at the old quota, those after it at the new one, less what others take."""
    steps = (
        ScheduledChange(10, quota=20, burst=100),
        ScheduledChange(20, background_rate=15),
        ScheduledChange(30, latency=JitteredLatency(1.0)),
    )
    service = FakeService(Scenario(quota=2, burst=10, latency=JitteredLatency(0.0), changes=steps))
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


async def test_faults_come_by_number_and_by_share() -> None:
    """The second arrival is reset, and about a tenth of the others fails."""
    lost = NoResponse("reset", "connection reset", sent=True)
    faults = (ScenarioFault(lost, request_numbers=frozenset({2})), ScenarioFault(share=0.1))
    service = FakeService(Scenario(quota=float("inf"), latency=JitteredLatency(0.0), faults=faults))
    replies = await send_concurrently(service, 1000)
    assert replies[1] == lost
    failed = sum(isinstance(reply, ErrorResponse) for reply in replies)
    assert 70 < failed < 130
    assert service.injected_faults == failed + 1
    assert sum(isinstance(reply, Accepted) for reply in replies) == 999 - failed


async def test_throttles_say_when_to_come_again_if_they_are_told_to() -> None:
    """`retry_after` stands in the throttle's reply."""
    service = FakeService(Scenario(burst=1, retry_after=2.0))
    _, second = await send_concurrently(service, 2)
    assert isinstance(second, ErrorResponse)
    assert second.retry_after == 2.0


def test_the_same_seed_plays_the_same() -> None:
    """Latencies of one seed are the same again; of another they are others."""

    async def played(seed: int) -> list[float]:
        service = FakeService(Scenario(latency=JitteredLatency(0.01, 0.05)), seed=seed)
        await send_concurrently(service, 20)
        return [one.at for one in service.log]

    assert run_virtual(played(1)) == run_virtual(played(1)) != run_virtual(played(2))


async def test_recorded_latencies_are_drawn_and_no_others() -> None:
    """Only times that were seen come again."""
    service = FakeService(Scenario(latency=RecordedLatency((0.1, 0.3))))
    loop = asyncio.get_running_loop()
    observed = set()
    for _ in range(30):
        started_at = loop.time()
        await service.send("core", ["thing"])
        observed.add(round(loop.time() - started_at, 6))
    assert observed == {0.1, 0.3}


async def test_it_carries_a_lane() -> None:
    """The real lane and its bucket run against it: ten requests at 5/s, with 2 at once, take 1.6 s."""
    service = FakeService(Scenario(quota=5, burst=5, latency=JitteredLatency(0.0)))
    lane = Lane(service, AdaptiveRate(5.0, burst=2))
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    for _ in range(10):
        await lane.acquire()
        assert isinstance(await lane.transport.send("core", ["thing"]), Accepted)
    assert loop.time() - started_at == pytest.approx(1.6)
    assert service.max_in_flight == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"quota": 0},
        {"burst": 0.5},
        {"background_rate": -1},
        {"changes": (ScheduledChange(-1.0),)},
        {"changes": (ScheduledChange(1.0, quota=float("nan")),)},
    ],
)
def test_impossible_scripts_are_refused(wrong: dict[str, object]) -> None:
    """A quota of nothing, a bucket for less than one request and the like are the caller's mistake."""
    with pytest.raises(UsageError):
        Scenario(**wrong)  # type: ignore[arg-type]  # wrong on purpose
    for make in (lambda: JitteredLatency(-1), lambda: RecordedLatency(()), lambda: ScenarioFault(share=2)):
        with pytest.raises(UsageError):
            make()
