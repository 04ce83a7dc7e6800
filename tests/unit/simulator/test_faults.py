"""Tests of asyncgg.simulator.faults."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from asyncgg.errors import UsageError
from asyncgg.simulator.faults import FAULT_KINDS, FaultInjector, parse_fault, parse_faults


def make_faults(*specs: str, seed: int = 1) -> FaultInjector:
    """Create an injector of these specs with a seed."""
    return FaultInjector(parse_faults(specs), random.Random(seed))


def injected_names(
    injector: FaultInjector, times: int, core: str = "core-1", things: tuple[str, ...] = ("a",)
) -> list[str]:
    """Get the names of the faults of `times` requests, empty without a fault."""
    injected = [injector.draw_for_request(core, things).spec for _ in range(times)]
    return [fault.name if fault else "" for fault in injected]


@pytest.mark.parametrize("name", FAULT_KINDS)
def test_parse_fault_accepts_every_kind(name: str) -> None:
    """Every kind parses alone (`slow` with seconds), with a share and with a count."""
    text = f"{name}:1.5" if name == "slow" else name
    assert parse_fault(text).kind is FAULT_KINDS[name]
    if name != "deny-all":
        assert parse_fault(f"{text}=2.5%").share == pytest.approx(0.025)
        assert parse_fault(f"{text}=3").count == 3


def test_parse_fault_reads_all_parts() -> None:
    """Argument, glob, numbers and amount are separate, also with colons and dashes in names."""
    fault = parse_fault("entry:ThrottlingException@device:a-0*=2")
    assert (fault.code, fault.glob, fault.count, fault.share) == ("ThrottlingException", "device:a-0*", 2, None)
    fault = parse_fault("500@core-1#3-5=50%")
    assert (fault.glob, fault.first, fault.last, fault.share) == ("core-1", 3, 5, 0.5)


@pytest.mark.parametrize(
    ("spec", "message_part"),
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
        ("page:teapot", "an HTTP status"),
        ("page:99", "an HTTP status"),
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
def test_parse_faults_invalid_spec_raises(spec: str, message_part: str) -> None:
    """The message contains the spec and the problem."""
    with pytest.raises(UsageError, match=message_part) as caught:
        parse_faults(["500=1%", spec])
    assert repr(spec) in str(caught.value)


def test_parse_faults_shares_above_100_percent_raise() -> None:
    """Faults of whole requests exclude each other, so their shares must not exceed 100 %."""
    with pytest.raises(UsageError, match="add up"):
        parse_faults(["500=60%", "hang=41%"])
    assert len(parse_faults(["500=60%", "hang=40%", "entry=50%", "slow:1=50%"])) == 4


def test_draw_for_request_follows_shares() -> None:
    """Every fault gets its share of the requests in any order of the specs."""
    counts = Counter(injected_names(make_faults("500=5%", "reset-after=30%", "hang=10%"), 20_000))
    assert counts["500"] == pytest.approx(1000, rel=0.15)
    assert counts["reset-after"] == pytest.approx(6000, rel=0.05)
    assert counts["hang"] == pytest.approx(2000, rel=0.1)


def test_same_seed_gives_same_faults() -> None:
    """One seed repeats its faults, another seed has different ones."""
    first, second, other = (injected_names(make_faults("500=50%", seed=seed), 64) for seed in (7, 7, 8))
    assert first == second != other


def test_draw_for_request_number_count_and_glob() -> None:
    """A number selects a request, a count the next requests, a glob the cores."""
    assert injected_names(make_faults("500#3"), 4) == ["", "", "500", ""]
    assert injected_names(make_faults("500#2-3"), 4) == ["", "500", "500", ""]
    assert injected_names(make_faults("500=2"), 3) == ["500", "500", ""]
    injector = make_faults("deny@core-?")
    assert injected_names(injector, 1, core="core-1") == ["deny"]
    assert injected_names(injector, 1, core="core-10") == [""]


def test_deterministic_faults_come_first() -> None:
    """A deterministic fault takes precedence over an earlier random one."""
    assert injected_names(make_faults("reset=100%", "500#2"), 3) == ["reset", "500", "reset"]


def test_validation_fault_matches_things() -> None:
    """The glob of `validation` is for things, not for cores."""
    injector = make_faults("validation@bad-*")
    assert injected_names(injector, 1, things=("a", "bad-1")) == ["validation"]
    assert injected_names(injector, 1, core="bad-core", things=("a",)) == [""]


def test_slow_fault_combines_with_other_fault() -> None:
    """A delay does not exclude another fault."""
    injected = make_faults("slow:2.5", "500").draw_for_request("core-1", ())
    assert injected.extra_delay == 2.5
    assert injected.spec is not None


def test_draw_for_entry_share_glob_and_count() -> None:
    """A share applies to every entry, a glob selects things, a count is per thing."""
    injector = make_faults("entry:X=10%")
    assert sum(injector.draw_for_entry(f"t{n}") is not None for n in range(5000)) == pytest.approx(500, rel=0.2)
    injector = make_faults("entry:X@a")
    assert [bool(injector.draw_for_entry(thing)) for thing in ("a", "b", "a")] == [True, False, True]
    injector = make_faults("entry:X=1")
    assert [bool(injector.draw_for_entry(thing)) for thing in ("a", "b", "a", "b")] == [True, True, False, False]
    assert injector.fired["entry:X=1"] == 2


def test_draw_for_credentials_count_and_glob() -> None:
    """A count rejects the next requests, a glob all requests with a matching access key id."""
    injector = make_faults("expired-token=2")
    assert [bool(injector.draw_for_credentials("AKID")) for _ in range(3)] == [True, True, False]
    assert not injector.refuses_key("AKID")
    injector = make_faults("expired-token@OLD*")
    assert [bool(injector.draw_for_credentials(key)) for key in ("OLD1", "NEW", "OLD2")] == [True, False, True]
    assert injector.refuses_key("OLD9")
    assert not injector.refuses_key("NEW")
    assert injected_names(injector, 1) == [""]
