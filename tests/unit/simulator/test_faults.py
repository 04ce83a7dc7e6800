"""Rule: how a fault's text is understood, and whom the fault strikes."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from asyncgg.errors import UsageError
from asyncgg.simulator.faults import FaultInjector
from asyncgg.simulator.faults import FAULT_KINDS, parse_fault, parse_faults


def make_faults(*specs: str, seed: int = 1) -> FaultInjector:
    """The faults of these specs, with seeded dice."""
    return FaultInjector(parse_faults(specs), random.Random(seed))


def injected_names(
    injector: FaultInjector, times: int, core: str = "core-1", things: tuple[str, ...] = ("a",)
) -> list[str]:
    """The names of what strikes `times` requests one after another, empty for nothing."""
    injected = [injector.draw_for_request(core, things).spec for _ in range(times)]
    return [fault.name if fault else "" for fault in injected]


@pytest.mark.parametrize("name", FAULT_KINDS)
def test_every_kind_can_be_named_alone(name: str) -> None:
    """Each kind parses by its bare name (slow needs its seconds), with a share, and with a count."""
    text = f"{name}:1.5" if name == "slow" else name
    assert parse_fault(text).kind is FAULT_KINDS[name]
    if name != "deny-all":
        assert parse_fault(f"{text}=2.5%").share == pytest.approx(0.025)
        assert parse_fault(f"{text}=3").count == 3


def test_all_parts_of_a_spec_are_read() -> None:
    """Argument, glob, number and amount are told apart, also where names hold colons and dashes."""
    fault = parse_fault("entry:ThrottlingException@device:a-0*=2")
    assert (fault.code, fault.glob, fault.count, fault.share) == ("ThrottlingException", "device:a-0*", 2, None)
    fault = parse_fault("500@core-1#3-5=50%")
    assert (fault.glob, fault.first, fault.last, fault.share) == ("core-1", 3, 5, 0.5)


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("", "expected KIND"),
        ("explode", "unknown kind"),
        ("500=", "expected KIND"),
        ("500=x%", "must be a share"),
        ("500=101%", "must be a share"),
        ("500=nan%", "must be a share"),
        ("500=-1%", "must be a share"),
        ("500=0.05", "must be a share"),
        ("500=0", "must be a share"),
        ("500#0", "start at 1"),
        ("500#5-3", "start at 1"),
        ("500#x", "expected KIND"),
        ("entry#2", "counts requests"),
        ("reset-after:X", "no argument"),
        ("slow", "seconds"),
        ("slow:-1", "seconds"),
        ("slow:nan", "seconds"),
        ("deny-all@core-1", "affects all"),
    ],
)
def test_a_bad_spec_is_named(spec: str, word: str) -> None:
    """The error holds the spec as given and says what is wrong with it."""
    with pytest.raises(UsageError, match=word) as caught:
        parse_faults(["500=1%", spec])
    assert repr(spec) in str(caught.value)


def test_shares_over_a_hundred_percent_are_refused() -> None:
    """Faults of whole requests exclude each other, so their shares cannot add up to more than all."""
    with pytest.raises(UsageError, match="add up"):
        parse_faults(["500=60%", "hang=41%"])
    assert len(parse_faults(["500=60%", "hang=40%", "entry=50%", "slow:1=50%"])) == 4


def test_shares_are_what_they_say() -> None:
    """Each of several faults strikes its own share of the requests, whatever its place in the list."""
    counts = Counter(injected_names(make_faults("500=5%", "reset-after=30%", "hang=10%"), 20_000))
    assert counts["500"] == pytest.approx(1000, rel=0.15)
    assert counts["reset-after"] == pytest.approx(6000, rel=0.05)
    assert counts["hang"] == pytest.approx(2000, rel=0.1)


def test_the_same_seed_rolls_the_same_dice() -> None:
    """Two simulators of one seed fail alike, those of two seeds do not."""
    first, second, other = (injected_names(make_faults("500=50%", seed=seed), 64) for seed in (7, 7, 8))
    assert first == second != other


def test_number_count_and_glob() -> None:
    """A number strikes that request, a count the next ones, a glob only cores of that name."""
    assert injected_names(make_faults("500#3"), 4) == ["", "", "500", ""]
    assert injected_names(make_faults("500#2-3"), 4) == ["", "500", "500", ""]
    assert injected_names(make_faults("500=2"), 3) == ["500", "500", ""]
    injector = make_faults("deny@core-?")
    assert injected_names(injector, 1, core="core-1") == ["deny"]
    assert injected_names(injector, 1, core="core-10") == [""]


def test_named_faults_come_before_dice() -> None:
    """A fault that is certain is not lost to one that rolls dice, though it stands behind it."""
    assert injected_names(make_faults("reset=100%", "500#2"), 3) == ["reset", "500", "reset"]


def test_validation_strikes_the_batch_that_holds_the_thing() -> None:
    """The glob of `validation` is matched with the things, not with the core."""
    injector = make_faults("validation@bad-*")
    assert injected_names(injector, 1, things=("a", "bad-1")) == ["validation"]
    assert injected_names(injector, 1, core="bad-core", things=("a",)) == [""]


def test_slow_adds_to_whatever_else_happens() -> None:
    """A delay does not exclude another fault."""
    strike = make_faults("slow:2.5", "500").draw_for_request("core-1", ())
    assert strike.extra_delay == 2.5
    assert strike.spec is not None


def test_entries_fail_by_share_by_name_and_for_a_while() -> None:
    """An entry fault rolls for each entry, always meets a named thing, and a count is each thing's own."""
    injector = make_faults("entry:X=10%")
    assert sum(injector.draw_for_entry(f"t{n}") is not None for n in range(5000)) == pytest.approx(500, rel=0.2)
    injector = make_faults("entry:X@a")
    assert [bool(injector.draw_for_entry(thing)) for thing in ("a", "b", "a")] == [True, False, True]
    injector = make_faults("entry:X=1")
    assert [bool(injector.draw_for_entry(thing)) for thing in ("a", "b", "a", "b")] == [True, True, False, False]
    assert injector.fired["entry:X=1"] == 2


def test_expired_token_by_count_and_by_key() -> None:
    """A token is refused for the next N requests, or as long as the access key id matches."""
    injector = make_faults("expired-token=2")
    assert [bool(injector.draw_for_credentials("AKID")) for _ in range(3)] == [True, True, False]
    assert not injector.refuses_key("AKID")
    injector = make_faults("expired-token@OLD*")
    assert [bool(injector.draw_for_credentials(key)) for key in ("OLD1", "NEW", "OLD2")] == [True, False, True]
    assert injector.refuses_key("OLD9")
    assert not injector.refuses_key("NEW")
    assert injected_names(injector, 1) == [""]
