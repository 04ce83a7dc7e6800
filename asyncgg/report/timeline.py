"""Groups the requests and outcomes of a run by time, without the pauses between its starts."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from asyncgg.journal import FinishedThings, RunStart, SentRequest
from asyncgg.models import ThingState

_MAX_BINS: Final = 60
_BIN_WIDTHS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400)


class RunningTime:
    """Converts times to seconds of running time: the pauses between starts do not count."""

    def __init__(self, starts: Sequence[RunStart]) -> None:
        self._starts = starts
        self.offsets = [0.0]
        """Running time at each start, and at the end."""
        for start in starts:
            self.offsets.append(self.offsets[-1] + start.ended_at - start.started_at)

    @property
    def total(self) -> float:
        """The running time of all starts in seconds."""
        return self.offsets[-1]

    def seconds_at(self, at: float) -> float:
        """The running time at `at`, in seconds since 1970."""
        position = 0.0
        for start, offset in zip(self._starts, self.offsets, strict=False):
            if at >= start.started_at:
                position = offset + min(at, start.ended_at) - start.started_at
        return position


@dataclass(frozen=True, slots=True)
class TimeBin:
    """What happened in one part of the running time."""

    start: float
    """Seconds of running time."""
    width: float
    accepted: int
    throttled: int
    other: int
    """Requests with another answer."""
    latencies: tuple[float, float, float] | None
    """The 50th, 90th and 99th percentile in seconds; None without answers."""
    done: int
    """Things disassociated (or associated) up to the end of the bin; so are the next two."""
    already: int
    failed: int

    @property
    def requests(self) -> int:
        """Requests sent."""
        return self.accepted + self.throttled + self.other


def bin_width(seconds: float) -> float:
    """The width of the bins for this running time, in seconds."""
    return next((width for width in _BIN_WIDTHS if seconds <= width * _MAX_BINS), math.ceil(seconds / _MAX_BINS))


def group_by_time(
    time: RunningTime, requests: Iterable[SentRequest], things: Iterable[FinishedThings]
) -> list[TimeBin]:
    """The bins of a run, without gaps; empty if nothing was sent."""
    if time.total <= 0:
        return []
    width = bin_width(time.total)
    count = math.ceil(time.total / width)

    def index(at: float) -> int:
        return min(int(time.seconds_at(at) / width), count - 1)

    by_verdict = {verdict: [0] * count for verdict in ("accepted", "throttled", "")}
    latencies = [array("d") for _ in range(count)]
    for sent_at, answered_at, verdict in requests:
        by_verdict[verdict if verdict in by_verdict else ""][index(sent_at)] += 1
        if answered_at is not None:
            latencies[index(answered_at)].append(max(0.0, answered_at - sent_at))
    by_state = {state: [0] * count for state in ThingState}
    for at, state, amount in things:
        by_state[state][index(at)] += amount
    done, already, failed = (
        list(accumulate(by_state[state])) for state in (ThingState.DISASSOCIATED, ThingState.ALREADY, ThingState.FAILED)
    )
    return [
        TimeBin(
            start=number * width,
            width=min(width, time.total - number * width),
            accepted=by_verdict["accepted"][number],
            throttled=by_verdict["throttled"][number],
            other=by_verdict[""][number],
            latencies=percentiles(latencies[number]),
            done=done[number],
            already=already[number],
            failed=failed[number],
        )
        for number in range(count)
    ]


def percentiles(values: Iterable[float]) -> tuple[float, float, float] | None:
    """The 50th, 90th and 99th percentile (nearest rank); None without values."""
    ordered = sorted(values)
    if not ordered:
        return None
    middle, high, highest = (ordered[max(0, math.ceil(share * len(ordered)) - 1)] for share in (0.5, 0.9, 0.99))
    return middle, high, highest
