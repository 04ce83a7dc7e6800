"""Rule: single runs of the engine on virtual time, one behaviour each."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from asyncgg.classify import CodeTable
from asyncgg.engine import EngineOptions
from asyncgg.events import CoreSkipped, Throttled
from asyncgg.journal import JournalReader
from asyncgg.models import RunState, ThingState
from asyncgg.retry_policy import RetryPolicy
from asyncgg.simulator.config import SimulatorConfig
from tests.support.engine import EngineHarness

pytestmark = pytest.mark.virtual

DONE, FAILED, PENDING = ThingState.DISASSOCIATED, ThingState.FAILED, ThingState.PENDING


def make_config(**settings: object) -> SimulatorConfig:
    """A small fleet behind a generous quota, unless told otherwise."""
    values: dict[str, object] = {"cores": 10, "things": 250, "rate": 1000.0, "burst": 1000.0, "latency_ms": 60.0}
    return SimulatorConfig(**(values | settings))  # type: ignore[arg-type]  # the fields are checked by it


async def test_everything_is_disassociated_with_the_fewest_requests(tmp_path: Path) -> None:
    """Without faults every thing is done, and requests sent equal the minimum."""
    harness = EngineHarness(tmp_path / "j", make_config())
    result = await harness.start()
    assert result.state is RunState.COMPLETE
    assert len(harness.transport.starts) == 30
    assert not harness.associations()
    harness.check_consistent()
    harness.check_reported_outcomes()


async def test_known_quota_is_met_without_a_throttle(tmp_path: Path) -> None:
    """1,000 full batches at a known quota of 50/s end within 3 % of N/rate, none throttled."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=250, things=400, rate=50.0, burst=5.0))
    started_at = harness.loop.time()
    result = await harness.start(rate=50.0, burst=2.0)
    assert result.state is RunState.COMPLETE
    assert len(harness.transport.starts) == 1000
    assert harness.service.counters.throttled == 0
    assert (harness.loop.time() - started_at) / (1000 / 50) <= 1.03


async def test_overstated_quota_is_found(tmp_path: Path) -> None:
    """Told 200/s where 50/s are granted, the run ends within 1.25 x N/rate with at most 5 % throttled."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=250, things=400, rate=50.0, burst=50.0))
    started_at = harness.loop.time()
    result = await harness.start(rate=200.0)
    assert result.state is RunState.COMPLETE
    assert (harness.loop.time() - started_at) / (1000 / 50) <= 1.25
    assert harness.service.counters.throttled / len(harness.transport.starts) <= 0.05
    assert any(isinstance(event, Throttled) for event in harness.events)
    harness.check_consistent()


async def test_things_that_fail_one_by_one_are_sent_again_together(tmp_path: Path) -> None:
    """500 things of one core of which 40 fail once for a passing reason need 5 + 1 requests."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=1, things=500))
    names = [thing for _, thing in harness.pairs][::13][:38]
    harness.service.set_faults([f"entry:InternalServerException@{name}=1" for name in names])
    result = await harness.start()
    assert result.state is RunState.COMPLETE
    assert len(harness.transport.starts) == 6
    assert len(harness.transport.starts[-1][2]) == len(names)
    harness.check_consistent()


async def test_missing_core_costs_one_request(tmp_path: Path) -> None:
    """All things of a core that does not exist fail after a single request for it."""
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


async def test_missing_core_with_parallel_batches(tmp_path: Path) -> None:
    """With several batches of the missing core in flight all its things fail exactly once, too."""
    missing_pairs = [("core-gone", f"thing-{number}") for number in range(2950)]
    harness = EngineHarness(tmp_path / "j", make_config(), extra_pairs=missing_pairs)
    result = await harness.start(rate=1000.0, options=EngineOptions(per_core=8))
    assert result.state is RunState.PARTIAL
    assert sum(core == "core-gone" for _, core, _ in harness.transport.starts) <= 8
    assert len(harness.outcome_rows(FAILED)) == 2950
    harness.check_consistent()
    harness.check_reported_outcomes()


async def test_denied_core_leaves_the_others_alone(tmp_path: Path) -> None:
    """A denied core's things fail with that code; all other cores are done."""
    harness = EngineHarness(tmp_path / "j", make_config(fault=("deny@core-00003",)))
    core = sorted({core for core, _ in harness.pairs})[2]
    harness.service.set_faults([f"deny@{core}"])
    result = await harness.start()
    assert result.state is RunState.PARTIAL
    assert {(row.core, row.code) for row in harness.outcome_rows(FAILED)} == {(core, "AccessDeniedException")}
    harness.check_consistent()


async def test_denied_everywhere_stops_the_run(tmp_path: Path) -> None:
    """When the first cores are all denied and nothing was accepted, the run stops for its permissions, resumable."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=200, fault=("deny",)))
    result = await harness.start()
    assert (result.state, result.is_auth_error) == (RunState.ABORTED, True)
    assert "grant greengrass:BatchDisassociateClientDeviceFromCoreDevice" in result.reason
    assert len(harness.transport.starts) < 60
    assert harness.outcome_rows(PENDING)
    harness.check_consistent()


async def test_bad_entries_are_isolated_by_halving(tmp_path: Path) -> None:
    """Two things that make the whole batch invalid fail alone; the 98 others are done."""
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


async def test_lost_reply_then_not_found_is_done(tmp_path: Path) -> None:
    """A thing whose request was applied but not answered is done when the next try says it is not there."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=1, things=100, fault=("reset-after#1",)))
    result = await harness.start()
    assert result.state is RunState.COMPLETE
    rows = harness.outcome_rows(DONE)
    assert len(rows) == 100
    assert {row.code for row in rows} == {"ResourceNotFoundException"}
    harness.check_consistent()


async def test_not_found_at_once_is_a_failure(tmp_path: Path) -> None:
    """A thing that was never sent before and is not there fails: the list was wrong, somebody should know."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=1, things=10))
    core = harness.pairs[0][0]
    harness = EngineHarness(tmp_path / "j2", make_config(cores=1, things=10), extra_pairs=[(core, "nobody")])
    result = await harness.start()
    assert result.state is RunState.PARTIAL
    assert [row.thing for row in harness.outcome_rows(FAILED)] == ["nobody"]


async def test_user_may_call_a_code_gone(tmp_path: Path) -> None:
    """With the user's table saying `gone` the same thing counts as done, its code kept."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=1, things=10, missing_things=3))
    result = await harness.start(options=EngineOptions(codes=CodeTable({"ResourceNotFoundException": "gone"})))
    assert result.state is RunState.COMPLETE
    assert sum(row.code == "ResourceNotFoundException" for row in harness.outcome_rows(DONE)) == 3


async def test_a_hang_is_cut_and_sent_again(tmp_path: Path) -> None:
    """A call that hangs ends after the request timeout and its things are sent again."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=2, things=100, fault=("hang#1",)), timeout=5.0)
    result = await harness.start()
    assert result.state is RunState.COMPLETE
    assert len(harness.transport.starts) == 3
    harness.check_consistent()


async def test_unknown_codes_are_tried_a_few_times(tmp_path: Path) -> None:
    """An entry code nobody knows is tried three times, then fails word for word."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=1, things=10))
    name = harness.pairs[4][1]
    harness.service.set_faults([f"entry:OddlyNamed@{name}"])
    result = await harness.start()
    assert result.state is RunState.PARTIAL
    (row,) = harness.outcome_rows(FAILED)
    assert (row.thing, row.code, row.attempts) == (name, "OddlyNamed", 3)


async def test_max_attempts_ends_a_persistent_failure(tmp_path: Path) -> None:
    """A core that always answers 500 costs max_attempts requests a batch, then its things fail with that code."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=3, things=50))
    core = harness.pairs[0][0]
    harness.service.set_faults([f"500@{core}"])
    result = await harness.start(options=EngineOptions(retry=RetryPolicy(max_attempts=4)))
    assert result.state is RunState.PARTIAL
    assert sum(c == core for _, c, _ in harness.transport.starts) == 4
    assert {row.code for row in harness.outcome_rows(FAILED)} == {"InternalServerException"}
    assert {row.attempts for row in harness.outcome_rows(FAILED)} == {4}


async def test_throttles_never_use_up_attempts(tmp_path: Path) -> None:
    """However often a batch is throttled, its things are not given up for it."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=20, things=100, rate=1.0, burst=1.0))
    result = await harness.start(rate=200.0, burst=20.0, options=EngineOptions(retry=RetryPolicy(max_attempts=1)))
    assert result.state is RunState.COMPLETE
    assert harness.service.counters.throttled > 0


async def test_retry_after_pauses_the_lane(tmp_path: Path) -> None:
    """After a throttle with Retry-After: 3 nothing is sent for three seconds."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=30, things=100, rate=10.0, burst=10.0, retry_after="3"))
    await harness.start(rate=30.0, burst=15.0)
    throttled = [event for event in harness.events if isinstance(event, Throttled)]
    assert throttled
    assert throttled[0].retry_after == 3.0
    times = [time for time, _, _ in harness.transport.starts]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) >= 2.9
    harness.check_consistent()


async def test_abort_rule_stops_and_is_resumable(tmp_path: Path) -> None:
    """20 % of at least 100 finished things failed: in-flight work ends, nothing new is sent, the rest is pending."""
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


async def test_deadline_stops_and_is_resumable(tmp_path: Path) -> None:
    """The deadline lets in-flight work end and leaves the rest pending; the next start completes it."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=100, things=100))
    started_at = harness.loop.time()
    result = await harness.start(rate=10.0, burst=1.0, options=EngineOptions(deadline=3.0))
    assert result.state is RunState.DEADLINE
    assert harness.loop.time() - started_at < 3.2
    assert len(harness.outcome_rows(PENDING)) == 10_000 - 100 * len(harness.transport.starts)
    harness.check_consistent()
    assert (await harness.start()).state is RunState.COMPLETE
    assert len(harness.transport.starts) == 100


async def test_per_core_and_concurrency_are_bounds(tmp_path: Path) -> None:
    """Never more requests in flight than `concurrency`, nor for one core than `per_core`."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=4, things=1000, latency_ms=500.0))
    await harness.start(rate=1000.0, options=EngineOptions(concurrency=6, per_core=2))
    assert harness.transport.max_in_flight == 6
    assert harness.service.counters.max_in_flight_per_core <= 2
    harness.check_consistent()


async def test_cores_take_turns(tmp_path: Path) -> None:
    """No core is served twice before each other core was served once."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=20, things=300))
    await harness.start()
    first = [core for _, core, _ in harness.transport.starts[:20]]
    assert len(set(first)) == 20


async def test_the_first_request_goes_alone(tmp_path: Path) -> None:
    """Nothing else is sent until the first request is answered, so wrong credentials cost one request."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=50, things=100, latency_ms=400.0))
    await harness.start(rate=100.0, burst=20.0)
    times = [time for time, _, _ in harness.transport.starts]
    assert times[1] - times[0] >= 0.4


async def test_a_first_request_that_hangs_holds_nobody_for_long(tmp_path: Path) -> None:
    """When the first request is not answered the others go on after a second."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=50, things=100, fault=("hang#1",)), timeout=30.0)
    await harness.start(rate=100.0, burst=20.0)
    times = [time for time, _, _ in harness.transport.starts]
    assert 0.9 <= times[1] - times[0] <= 1.1


async def test_progress_says_that_it_waits_for_a_retry(tmp_path: Path) -> None:
    """While only things wait for their next try, the time left is that wait, and the note says so."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=1, things=10, fault=("500=2",)))
    observed = []

    def look() -> None:
        assert harness.engine is not None
        observed.append(harness.engine.progress())

    harness.loop.call_later(0.25, look)
    assert (await harness.start()).state is RunState.COMPLETE
    assert "to retry" in observed[0].status
    assert observed[0].seconds_left is not None
    assert 0.0 < observed[0].seconds_left <= 0.5


async def test_what_was_sent_before_counts_as_sent_again(tmp_path: Path) -> None:
    """Requests that carry a thing for the second time count as retried, those of a retry pass among them."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=3, things=100, missing_cores=1))
    await harness.start()
    await harness.start(retry=True)
    with JournalReader(harness.path) as reader:
        assert reader.summary().retried == 1
        assert reader.summary().sent == 5


async def test_a_start_forgets_why_an_earlier_one_ended(tmp_path: Path) -> None:
    """While a run goes on, and so after a kill, the journal does not tell the reason of an earlier stop as its own."""
    harness = EngineHarness(tmp_path / "j", make_config(cores=50, things=100))
    await harness.start(rate=10.0, options=EngineOptions(deadline=1.0))
    observed = []

    def look() -> None:
        with JournalReader(harness.path) as reader:
            observed.append(reader.meta())

    harness.loop.call_later(0.5, look)
    await harness.start()
    assert (observed[0]["state"], observed[0]["reason"]) == ("running", "")
