"""Single runs of the engine on virtual time."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from asyncgg.aggregator import Batch
from asyncgg.classify import CodeTable
from asyncgg.engine import Engine, EngineOptions, Lane
from asyncgg.events import CoreSkipped, RateChanged, RateReason, Throttled
from asyncgg.journal import JournalReader, JournalStore, JournalWriter
from asyncgg.models import RunState, ThingState
from asyncgg.retry_policy import RetryPolicy
from asyncgg.simulator.config import SimulatorConfig
from asyncgg.testing import FixedRate
from tests.support.engine import EngineHarness

pytestmark = pytest.mark.virtual

DONE, FAILED, PENDING = ThingState.DISASSOCIATED, ThingState.FAILED, ThingState.PENDING
ALREADY = ThingState.ALREADY


def make_config(**settings: object) -> SimulatorConfig:
    """A small fleet with a high quota by default."""
    values: dict[str, object] = {"cores": 10, "things": 250, "rate": 1000.0, "burst": 1000.0, "latency_ms": 60.0}
    return SimulatorConfig(**(values | settings))  # type: ignore[arg-type]  # the fields are checked by it


async def test_run_without_faults_needs_minimum_requests(tmp_path: Path) -> None:
    """Every thing is done with the minimum of requests."""
    harness = EngineHarness(tmp_path / "j", make_config())
    result = await harness.start()
    assert result.state is RunState.COMPLETE
    assert len(harness.transport.starts) == 30
    assert not harness.associations()
    harness.check_consistent()
    harness.check_reported_outcomes()


async def test_run_at_known_quota_is_not_throttled(tmp_path: Path) -> None:
    """1,000 requests at 50/s end within 3 % of N / rate without a throttle."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=1000, things=20, rate=50.0, burst=5.0))
    started_at = harness.loop.time()
    result = await harness.start(rate=50.0, burst=2.0)
    assert result.state is RunState.COMPLETE
    assert len(harness.transport.starts) == 1000
    assert harness.service.counters.throttled == 0
    assert (harness.loop.time() - started_at) / (1000 / 50) <= 1.03


async def test_claim_ahead_claims_many_batches_in_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the batches of `claim_ahead` are claimed at a time, at the same rate of requests."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=200, things=2))
    claimed_at: list[float] = []
    claim = JournalStore.claim

    def record(store: JournalStore, *arguments: Any) -> Batch:
        claimed_at.append(harness.loop.time())
        return claim(store, *arguments)

    monkeypatch.setattr(JournalStore, "claim", record)
    started_at = harness.loop.time()
    result = await harness.start(rate=20.0, burst=2.0, options=EngineOptions(claim_ahead=1.0))
    assert result.state is RunState.COMPLETE
    assert len(claimed_at) == 200
    assert len(set(claimed_at)) <= 200 / 10 + 2
    assert harness.loop.time() - started_at <= 1.03 * 200 / 20


async def test_time_before_run_is_not_counted(tmp_path: Path) -> None:
    """A lane of a campaign is created some time before it may send."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=3, things=2))
    journal = JournalWriter(harness.path, threaded=False)
    await journal.submit(lambda store: store.begin_resume())
    engine = Engine(journal, Lane(harness.transport, FixedRate(10.0, burst=1.0)))
    await engine.load()
    await asyncio.sleep(100.0)
    assert (await engine.run()).state is RunState.COMPLETE
    journal.close()
    assert 0.2 <= engine.progress().seconds <= 1.0


async def test_run_with_overstated_quota_adapts(tmp_path: Path) -> None:
    """With 200/s configured and 50/s granted, the run takes at most 1.25 x N / rate, 5 %
    throttled."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=1000, things=20, rate=50.0, burst=50.0))
    started_at = harness.loop.time()
    result = await harness.start(rate=200.0)
    assert result.state is RunState.COMPLETE
    assert (harness.loop.time() - started_at) / (1000 / 50) <= 1.25
    assert harness.service.counters.throttled / len(harness.transport.starts) <= 0.05
    assert any(isinstance(event, Throttled) for event in harness.events)
    harness.check_consistent()


async def test_run_records_why_the_rate_changed(tmp_path: Path) -> None:
    """The journal has the initial rate and every reported change, with its reason."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=300, things=20, rate=50.0, burst=5.0))
    await harness.start(rate=200.0)
    changes = [event for event in harness.events if isinstance(event, RateChanged)]
    with JournalReader(tmp_path / "j") as reader:
        decisions = reader.rate_decisions()
    assert decisions[0].reason == RateReason.STARTED.value
    assert [(row.rate, row.reason) for row in decisions[1:]] == [(each.new, each.reason.value) for each in changes]
    assert {RateReason.THROTTLED.value, RateReason.ACCEPTED.value} <= {row.reason for row in decisions}


async def test_run_repacks_failed_things(tmp_path: Path) -> None:
    """500 things of one core, of which 40 fail once, need 5 + 1 requests."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=1, things=500))
    names = [thing for _, thing in harness.pairs][::13][:38]
    harness.service.set_faults([f"entry:InternalServerException@{name}=1" for name in names])
    result = await harness.start()
    assert result.state is RunState.COMPLETE
    assert len(harness.transport.starts) == 6
    assert len(harness.transport.starts[-1][2]) == len(names)
    harness.check_consistent()


async def test_run_missing_core_costs_one_request(tmp_path: Path) -> None:
    """All things of a missing core fail after a single request."""
    missing_pairs = [("core-gone", f"thing-{number}") for number in range(950)]
    harness = EngineHarness(tmp_path / "j", make_config(), extra_pairs=missing_pairs)
    result = await harness.start(options=EngineOptions(per_core=1))
    assert result.state is RunState.PARTIAL
    assert sum(core == "core-gone" for _, core, _ in harness.transport.starts) == 1
    assert {row.code for row in harness.outcome_rows(FAILED)} == {"ResourceNotFoundException"}
    assert len(harness.outcome_rows(FAILED)) == 950
    assert [event.things for event in harness.events if isinstance(event, CoreSkipped)] == [950]
    harness.check_consistent()
    harness.check_reported_outcomes()


async def test_run_missing_core_with_parallel_batches(tmp_path: Path) -> None:
    """With several batches of a missing core in flight, its things fail exactly once."""
    missing_pairs = [("core-gone", f"thing-{number}") for number in range(2950)]
    harness = EngineHarness(tmp_path / "j", make_config(), extra_pairs=missing_pairs)
    result = await harness.start(rate=1000.0, options=EngineOptions(per_core=8))
    assert result.state is RunState.PARTIAL
    assert sum(core == "core-gone" for _, core, _ in harness.transport.starts) <= 8
    assert len(harness.outcome_rows(FAILED)) == 2950
    harness.check_consistent()
    harness.check_reported_outcomes()


async def test_run_denied_core_does_not_affect_others(tmp_path: Path) -> None:
    """The things of a denied core fail with that code; all other cores are done."""
    harness = EngineHarness(tmp_path / "j", make_config(fault=("deny@core-00003",)))
    core = sorted({core for core, _ in harness.pairs})[2]
    harness.service.set_faults([f"deny@{core}"])
    result = await harness.start()
    assert result.state is RunState.PARTIAL
    assert {(row.core, row.code) for row in harness.outcome_rows(FAILED)} == {(core, "AccessDeniedException")}
    harness.check_consistent()


async def test_run_denied_everywhere_aborts(tmp_path: Path) -> None:
    """If the first cores are all denied, the run stops, resumable, and names the permission."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=200, fault=("deny",), things=10))
    result = await harness.start()
    assert (result.state, result.is_auth_error) == (RunState.ABORTED, True)
    assert "grant greengrass:BatchDisassociateClientDeviceFromCoreDevice" in result.reason
    assert len(harness.transport.starts) < 60
    assert harness.outcome_rows(PENDING)
    harness.check_consistent()


async def test_run_isolates_invalid_entries(tmp_path: Path) -> None:
    """Two things that invalidate a batch fail alone; the 98 others are done."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=1, things=100))
    bad = {harness.pairs[7][1], harness.pairs[77][1]}
    harness.service.set_faults([f"validation@{name}" for name in bad])
    result = await harness.start()
    assert result.state is RunState.PARTIAL
    assert {row.thing for row in harness.outcome_rows(FAILED)} == bad
    assert {row.code for row in harness.outcome_rows(FAILED)} == {"ValidationException"}
    assert len(harness.outcome_rows(DONE)) == 98
    harness.check_consistent()
    harness.check_reported_outcomes()


@pytest.mark.parametrize("absent_ok", [True, False])
async def test_run_not_found_after_lost_reply_is_already_done(tmp_path: Path, absent_ok: bool) -> None:
    """A thing whose request was applied without a reply is done if the next attempt returns not
    found."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=1, things=100, fault=("reset-after#1",)))
    result = await harness.start(options=EngineOptions(codes=CodeTable(absent_ok=absent_ok)))
    assert result.state is RunState.COMPLETE
    rows = harness.outcome_rows(ALREADY)
    assert len(rows) == 100
    assert {row.code for row in rows} == {"ResourceNotFoundException"}
    harness.check_consistent()


async def test_run_not_found_at_first_attempt_is_already_done_unless_strict(tmp_path: Path) -> None:
    """A thing that was never sent and is not found is done; strictly it fails. Its code is kept."""
    config = make_config(cores=1, things=10, missing_things=3)
    harness = EngineHarness(tmp_path / "1", config)
    assert (await harness.start()).state is RunState.COMPLETE
    assert [row.code for row in harness.outcome_rows(ALREADY)] == ["ResourceNotFoundException"] * 3
    harness = EngineHarness(tmp_path / "2", config)
    result = await harness.start(options=EngineOptions(codes=CodeTable(absent_ok=False)))
    assert result.state is RunState.PARTIAL
    assert [row.code for row in harness.outcome_rows(FAILED)] == ["ResourceNotFoundException"] * 3


async def test_run_code_overridden_as_done_is_already_done(tmp_path: Path) -> None:
    """With `gone` for the code the thing is done, and its code is kept."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=1, things=10, missing_things=3, not_found="DeviceLeft"))
    result = await harness.start(options=EngineOptions(codes=CodeTable({"DeviceLeft": "gone"})))
    assert result.state is RunState.COMPLETE
    assert [row.code for row in harness.outcome_rows(ALREADY)] == ["DeviceLeft"] * 3


@pytest.mark.parametrize(("missing_cores_ok", "state"), [(True, RunState.COMPLETE), (False, RunState.ABORTED)])
async def test_run_abort_rule_ignores_things_that_were_already_done(
    tmp_path: Path, missing_cores_ok: bool, state: RunState
) -> None:
    """Absent things neither count as failures nor dilute them; those of a missing core fail by default."""
    config = make_config(cores=10, things=100, missing_things=500, missing_cores=1)
    harness = EngineHarness(tmp_path / "j", config)
    options = EngineOptions(codes=CodeTable(missing_cores_ok=missing_cores_ok), abort_at=0.1, abort_after=1)
    result = await harness.start(options=options)
    assert result.state is state
    failed = len(harness.outcome_rows(FAILED))
    assert bool(failed) == (state is RunState.ABORTED)
    harness.check_consistent()


async def test_run_abort_rule_is_not_diluted_by_absent_things(tmp_path: Path) -> None:
    """40 denied of 100 associated things are 40 %, whatever the number of absent ones."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=1, things=100, missing_things=900))
    harness.service.set_faults([f"entry:AccessDenied@{thing}" for _, thing in harness.pairs[:40]])
    result = await harness.start(options=EngineOptions(abort_at=30, abort_after=100))
    assert result.state is RunState.ABORTED
    assert result.reason.startswith("40 of 100 finished things failed (40.0 %)")


async def test_run_request_timeout_is_retried(tmp_path: Path) -> None:
    """A request that hangs ends after the timeout, and its things are sent again."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=2, things=100, fault=("hang#1",)), timeout=5.0)
    result = await harness.start()
    assert result.state is RunState.COMPLETE
    assert len(harness.transport.starts) == 3
    harness.check_consistent()


async def test_run_unknown_code_is_tried_three_times(tmp_path: Path) -> None:
    """A thing with an unknown code is sent three times, then fails with it."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=1, things=10))
    name = harness.pairs[4][1]
    harness.service.set_faults([f"entry:OddlyNamed@{name}"])
    result = await harness.start()
    assert result.state is RunState.PARTIAL
    (row,) = harness.outcome_rows(FAILED)
    assert (row.thing, row.code, row.attempts) == (name, "OddlyNamed", 3)


async def test_run_persistent_error_fails_after_max_attempts(tmp_path: Path) -> None:
    """A core that always returns 500 costs max_attempts requests per batch after the first one.

    The first failure is not counted, because nothing shows yet that the others do not fail.
    """
    harness = EngineHarness(tmp_path / "j", make_config(cores=3, things=50))
    core = harness.pairs[0][0]
    harness.service.set_faults([f"500@{core}"])
    result = await harness.start(options=EngineOptions(retry=RetryPolicy(max_attempts=4)))
    assert result.state is RunState.PARTIAL
    assert sum(c == core for _, c, _ in harness.transport.starts) == 5
    assert {row.code for row in harness.outcome_rows(FAILED)} == {"InternalServerException"}
    assert {row.attempts for row in harness.outcome_rows(FAILED)} == {4}


async def test_run_throttles_do_not_count_as_attempts(tmp_path: Path) -> None:
    """Things of a batch that is throttled many times do not fail."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=20, things=100, rate=1.0, burst=1.0))
    result = await harness.start(rate=200.0, burst=20.0, options=EngineOptions(retry=RetryPolicy(max_attempts=1)))
    assert result.state is RunState.COMPLETE
    assert harness.service.counters.throttled > 0


async def test_run_sends_a_throttled_batch_again_after_a_round_trip(tmp_path: Path) -> None:
    """The limiter paces the lane, so a throttled batch waits one round trip of 60 ms and a token."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=3, things=100, rate=10.0, burst=1.0))
    assert (await harness.start(rate=30.0, burst=3.0)).state is RunState.COMPLETE
    assert harness.service.counters.throttled > 0
    starts: dict[str, list[float]] = {}
    for time, core, _ in harness.transport.starts:
        starts.setdefault(core, []).append(time)
    gaps = [times[1] - times[0] for times in starts.values() if len(times) > 1]
    assert gaps
    assert max(gaps) <= 0.06 + 0.06 + 2 / 10


async def test_run_retry_after_pauses_sending(tmp_path: Path) -> None:
    """After a throttle with Retry-After: 3 nothing is sent for three seconds."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=30, things=100, rate=10.0, burst=10.0, retry_after="3"))
    await harness.start(rate=30.0, burst=15.0)
    throttled = [event for event in harness.events if isinstance(event, Throttled)]
    assert throttled
    assert throttled[0].retry_after == 3.0
    times = [time for time, _, _ in harness.transport.starts]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) >= 2.9
    harness.check_consistent()


async def test_run_abort_rule_stops(tmp_path: Path) -> None:
    """When 20 % of at least 100 finished things failed, the run stops and the rest stays
    pending."""
    harness = EngineHarness(
        tmp_path / "j", make_config(cores=100, things=100, fault=("entry:ValidationException=50%",))
    )
    result = await harness.start(rate=20.0, options=EngineOptions(abort_at=20.0, abort_after=100))
    assert result.state is RunState.ABORTED
    assert "abort threshold" in result.reason
    assert len(harness.transport.starts) <= 10
    assert harness.outcome_rows(PENDING)
    harness.check_consistent()
    harness.service.set_faults([])
    assert (await harness.start()).state is RunState.PARTIAL
    assert (await harness.start(retry=True)).state is RunState.COMPLETE
    harness.check_consistent()


async def test_run_deadline_stops(tmp_path: Path) -> None:
    """At the deadline requests in flight end, and the next start completes the run."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=100, things=100))
    started_at = harness.loop.time()
    result = await harness.start(rate=10.0, burst=1.0, options=EngineOptions(deadline=3.0))
    assert result.state is RunState.DEADLINE
    assert harness.loop.time() - started_at < 3.2
    assert len(harness.outcome_rows(PENDING)) == 10_000 - 100 * len(harness.transport.starts)
    harness.check_consistent()
    assert (await harness.start()).state is RunState.COMPLETE
    assert len(harness.transport.starts) == 100


async def test_run_keeps_concurrency_and_per_core(tmp_path: Path) -> None:
    """Requests in flight never exceed `concurrency`, nor `per_core` for a core."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=4, things=1000, latency_ms=500.0))
    await harness.start(rate=1000.0, options=EngineOptions(concurrency=6, per_core=2))
    assert harness.transport.max_in_flight == 6
    assert harness.service.counters.max_in_flight_per_core <= 2
    harness.check_consistent()


async def test_run_alternates_between_cores(tmp_path: Path) -> None:
    """No core is served twice before every other core is served once."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=20, things=300))
    await harness.start()
    first = [core for _, core, _ in harness.transport.starts[:20]]
    assert len(set(first)) == 20


async def test_run_first_request_is_sent_before_others(tmp_path: Path) -> None:
    """Nothing else is sent before the first reply, so invalid credentials cost one request."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=50, things=100, latency_ms=400.0))
    await harness.start(rate=100.0, burst=20.0)
    times = [time for time, _, _ in harness.transport.starts]
    assert times[1] - times[0] >= 0.4


async def test_run_first_request_without_reply_delays_one_second(tmp_path: Path) -> None:
    """If the first request has no reply, the others are sent after a second."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=50, things=100, fault=("hang#1",)), timeout=30.0)
    await harness.start(rate=100.0, burst=20.0)
    times = [time for time, _, _ in harness.transport.starts]
    assert 0.9 <= times[1] - times[0] <= 1.1


async def test_progress_names_the_wait_for_a_retry(tmp_path: Path) -> None:
    """While all things wait for a retry, the time left is that wait and the status names it."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=1, things=10, fault=("500=2",)))
    observed = []

    def look() -> None:
        assert harness.engine is not None
        observed.append(harness.engine.progress())

    harness.loop.call_later(0.25, look)
    assert (await harness.start()).state is RunState.COMPLETE
    assert "10 things on 1 core: InternalServerException, attempt 1 of 10, next in 0 s" in observed[0].status
    assert observed[0].seconds_left is not None
    assert 0.0 < observed[0].seconds_left <= 0.5


async def test_run_records_the_wait_for_a_retry(tmp_path: Path) -> None:
    """Another process sees for what the run waits, until the next request or the end of the process."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=3, things=10, fault=("entry:ConflictException=3",)))
    observed = []

    def look() -> None:
        with JournalReader(harness.path) as reader:
            observed.append(reader.retry_wait())

    for at in (1.0, 11.0):
        harness.loop.call_later(at, look)
    retry = RetryPolicy(base_delay=8.0, max_attempts=4)
    assert (await harness.start(options=EngineOptions(retry=retry))).state is RunState.COMPLETE
    look()
    first, second, after = observed
    assert first is not None
    assert first.ends_in is not None
    assert second is not None
    assert (first.things, first.cores, first.code) == (30, 3, "ConflictException")
    assert (first.attempt, first.max_attempts) == (2, 4)
    assert 3.9 <= first.next_in <= first.last_in <= 8  # seconds from the look on, after the request
    assert first.last_in + 16 + 20 == pytest.approx(first.ends_in, abs=5)
    assert second.attempt == 3
    assert after is None


async def test_run_counts_resent_things_as_retried(tmp_path: Path) -> None:
    """Requests with a thing that was sent before count as retried, also in a retry pass."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=3, things=100, missing_cores=1))
    await harness.start()
    await harness.start(retry=True)
    with JournalReader(harness.path) as reader:
        assert reader.summary().retried == 1
        assert reader.summary().sent == 5


async def test_run_clears_the_reason_of_an_earlier_end(tmp_path: Path) -> None:
    """During a run, and so after a kill, the journal has no reason of an earlier end."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=50, things=100))
    await harness.start(rate=10.0, options=EngineOptions(deadline=1.0))
    observed = []

    def look() -> None:
        with JournalReader(harness.path) as reader:
            observed.append(reader.meta())

    harness.loop.call_later(0.5, look)
    await harness.start()
    assert (observed[0]["state"], observed[0]["reason"]) == ("running", "")
