"""The decision about denied cores, on times that the test supplies."""

from __future__ import annotations

import pytest

from asyncgg.engine import StopReason
from asyncgg.engine.denial import DenialRule


class Cores:
    """Asks cores one after the other, one per second."""

    def __init__(self, *, disabled: bool = False) -> None:
        self.rule = DenialRule[str]("grant X", disabled=disabled)
        self.now = 0.0
        self.asked = 0
        self.failed: list[str] = []

    def deny(self, number: int = 1, **options: bool) -> StopReason | None:
        """Deny this many further cores; the first reason to stop."""
        for _ in range(number):
            self.now, self.asked = self.now + 1, self.asked + 1
            core = f"core-{self.asked}"
            options = {"was_accepted": False} | options
            if stop := self.rule.record_denied(core, self.now, core, "AccessDenied", **options):
                return stop
        return None

    def accept(self, number: int = 1) -> None:
        """Accept this many further cores."""
        for _ in range(number):
            self.now, self.asked = self.now + 1, self.asked + 1
            self.failed += self.rule.record_accepted(f"core-{self.asked}", self.now)


def test_denied_from_the_start_stops_at_the_tenth_core() -> None:
    """Nothing is decided about any of them, and the message names the permission and the option."""
    cores = Cores()
    stop = cores.deny(50)
    assert stop is not None
    assert (cores.asked, cores.failed, stop.is_auth_error) == (10, [], True)
    assert stop.message.startswith("access denied for 10 cores, and no request was accepted: AccessDenied; grant X (or")


def test_denied_cores_among_accepted_ones_fail_alone() -> None:
    """An accepted request that was sent later decides the cores denied before it."""
    cores = Cores()
    for _ in range(100):
        assert cores.deny(9) is None
        cores.accept()
    assert len(cores.failed) == 900


@pytest.mark.parametrize(("accepted", "denied", "stops_at"), [(100, 0, 10), (50, 50, 20), (10, 90, 100)])
def test_more_denied_cores_are_needed_where_more_are_usual(accepted: int, denied: int, stops_at: int) -> None:
    """The row that stops is ten times the cores asked for each accepted one."""
    cores = Cores()
    for _ in range(accepted):
        cores.deny(denied // accepted)
        cores.accept()
    before = cores.asked
    assert cores.deny(500) is not None
    assert cores.asked - before == stops_at


def test_cores_denied_after_success_stop_at_the_third() -> None:
    """A core that had been accepted and is denied shows that the permission was withdrawn."""
    cores = Cores()
    cores.accept(10)
    assert cores.deny(2, was_accepted=True) is None
    stop = cores.deny(was_accepted=True)
    assert stop is not None
    assert stop.message.startswith("access denied for 3 cores in a row")


def test_acceptance_of_an_earlier_request_decides_nothing() -> None:
    """A request sent before the denied one had the permission; that says nothing about now."""
    cores = Cores()
    cores.deny()
    assert cores.rule.record_accepted("other", cores.now - 0.5) == []
    assert cores.rule.record_accepted("other", cores.now) == ["core-1"]


@pytest.mark.parametrize(("accepted", "was_accepted", "stops"), [(0, False, True), (5, False, False), (5, True, True)])
def test_check_at_end_decides_a_short_list(accepted: int, was_accepted: bool, stops: bool) -> None:
    """Two denied cores stop if nothing was accepted, or if they had been; else only they fail."""
    cores = Cores()
    cores.accept(accepted)
    cores.deny(2, was_accepted=was_accepted)
    assert (cores.rule.check_at_end() is not None) == stops
    assert len(cores.rule.take_held()) == 2
    assert cores.rule.check_at_end() is None


def test_unknown_list_of_cores_delays_the_stop() -> None:
    """While the list of cores is incomplete nothing stops; then cores of the whole list are asked."""
    cores = Cores()
    assert cores.deny(30, can_stop=False) is None
    cores.rule.restart_row(cores.now + 0.5)
    assert cores.deny(9) is None
    assert cores.deny() is not None
