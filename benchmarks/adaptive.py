"""A quota that is not what was said, that changes, that is shared: asyncgg, the SDK's adaptive mode, its legacy mode.

`python -m benchmarks adaptive` (some ten minutes). Real clients in processes of their own against a simulator in its
own: 50 requests/s, a burst of 50, 60 ms of latency and 40 ms more on average, 3,000 batches of 10 things.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
import threading
import time
import urllib.request
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.adaptive_picture import Curve, Plot, plots
from benchmarks.clients import Client, asyncgg, peer
from benchmarks.processes import measured
from benchmarks.simulated import ask, simulator
from benchmarks.tables import RESULTS

__all__ = ["run"]

QUOTA: Final = 50.0
BATCHES: Final = 3000
STEPS: Final = ((0.0, 50.0), (25.0, 25.0), (50.0, 50.0))
SETTLING: Final = 10.0
"""Seconds after a step, from which the use of the quota counts."""


@dataclass(frozen=True)
class Scene:
    """Clients that begin together, each with its part of the batches."""

    name: str
    clients: Sequence[Client]
    steps: Sequence[tuple[float, float]] = ((0.0, QUOTA),)
    part: float = 1.0
    """Of all batches; the rest is not needed to show it."""


def scenes() -> list[Scene]:
    """All of them; each of ours followed by the SDK's adaptive mode, where that can be compared."""
    auto = asyncgg("asyncgg, auto", "--quota", str(QUOTA))
    adaptive = peer("SDK adaptive", "aiobotocore", "--mode", "adaptive")
    legacy = peer("SDK legacy", "aiobotocore", "--mode", "legacy")
    second = asyncgg("asyncgg, second", "--quota", str(QUOTA))
    return [
        Scene("told 200/s", [asyncgg("asyncgg --rate 200", "--rate", "200")]),
        Scene("told 12/s, free to rise", [asyncgg("asyncgg --quota 12", "--quota", "12")]),
        Scene("told nothing", [adaptive]),
        Scene("half of the quota", [asyncgg("--quota-share 0.5", "--quota", "50", "--quota-share", "0.5")], part=0.3),
        Scene("the quota halves and returns", [auto], STEPS),
        Scene("the quota halves and returns", [adaptive], STEPS),
        Scene("two runs", [auto, second]),
        Scene("two runs", [adaptive, peer("SDK adaptive, second", "aiobotocore", "--mode", "adaptive")]),
        Scene("beside one that ignores throttling", [auto, legacy]),
    ]


@dataclass(frozen=True)
class Track:
    """What the simulator saw of one client: seconds since the first request of all."""

    name: str
    sent: list[float]
    accepted: list[float]

    @property
    def throttled(self) -> float:
        """Part of what was sent."""
        return 1 - len(self.accepted) / max(1, len(self.sent))

    def most_in(self, window: float) -> float:
        """The highest rate of arrivals over any window."""
        return max((bisect_left(self.sent, at + window) - i) / window for i, at in enumerate(self.sent))


def measure(scene: Scene, batches: int) -> list[Track]:
    """Run the scene against a fresh service."""
    fleet = {"cores": int(batches * scene.part), "things": 10, "rate": scene.steps[0][1], "burst": QUOTA}
    with tempfile.TemporaryDirectory() as folder, simulator(**fleet, latency_ms=60, jitter_ms=40) as url:
        rows = list(csv.reader(io.StringIO(ask(url, "manifest.csv"))))
        cores = sorted({core for core, _ in rows[1:]})
        owner = {core: number % len(scene.clients) for number, core in enumerate(cores)}
        with _changing(url, scene.steps[1:]):
            threads = []
            for number, client in enumerate(scene.clients):
                manifest = Path(folder) / f"{number}.csv"
                with manifest.open("w", newline="") as file:
                    csv.writer(file).writerows([rows[0], *(row for row in rows[1:] if owner[row[0]] == number)])
                threads.append(threading.Thread(target=measured, args=(client.command(url, manifest),)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        log = [row for row in ask(url, "requests") if row["core"]]
    begin = log[0]["time"]
    tracks = [Track(client.name, [], []) for client in scene.clients]
    for row in log:
        track = tracks[owner[row["core"]]]
        track.sent.append(row["time"] - begin)
        if row["code"] != "ThrottlingException":
            track.accepted.append(row["time"] - begin)
    return tracks


def figures(scene: Scene, tracks: Sequence[Track]) -> dict[str, Any]:
    """What is promised, or compared."""
    end = max(track.sent[-1] for track in tracks)
    got = [len(track.accepted) for track in tracks]
    row: dict[str, Any] = {"scene": scene.name, "clients": [track.name for track in tracks]}
    row["ratio"] = end / (sum(got) / QUOTA) if len(scene.steps) == 1 else None
    row["throttled"] = [track.throttled for track in tracks]
    row["most_in_5_s"] = [track.most_in(5.0) for track in tracks]
    if len(scene.steps) > 1:
        bounds = [*(since for since, _ in scene.steps[1:]), end]
        row["use_after_steps"] = [
            _use(tracks, since + SETTLING, until, rate)
            for (since, rate), until in zip(scene.steps[1:], bounds[1:], strict=True)
            if until > since + SETTLING
        ]
    if len(tracks) > 1:
        both = min(track.sent[-1] for track in tracks)
        parts = [bisect_left(track.accepted, both) / both for track in tracks]
        row |= {"rates": parts, "use": sum(parts) / QUOTA}
        row["jain"] = sum(parts) ** 2 / (len(parts) * sum(part**2 for part in parts))
    return row


def run(quick: bool, rounds: int | None) -> None:
    """Measure, print, draw, write."""
    rows, panels = [], []
    for _ in range(rounds or 1):
        for scene in scenes():
            tracks = measure(scene, 300 if quick else BATCHES)
            rows.append(figures(scene, tracks))
            said = _said(rows[-1])
            print(f"{scene.name}: {', '.join(rows[-1]['clients'])}: {said}", flush=True)
            seconds = int(max(track.sent[-1] for track in tracks)) + 1
            curves = [
                Curve(
                    track.name,
                    [bisect_left(track.accepted, s + 1) - bisect_left(track.accepted, s) for s in range(seconds)],
                )
                for track in tracks
            ]
            panels.append(Plot(f"{scene.name}: {tracks[0].name}", said, curves, scene.steps))
    folder = RESULTS / "quick" if quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    result = {"date": date, "quota": QUOTA, "burst": QUOTA, "batches": BATCHES, "steps": STEPS, "rows": rows}
    (folder / "adaptive.json").write_text(json.dumps(result, indent=1) + "\n")
    subtitle = f"accepted requests in each second; dashed: the quota; burst 50, latency 60 + 40 ms; {date}"
    (folder / "adaptive.svg").write_text(plots("A quota nobody knows exactly", subtitle, panels))
    print(f"written: {folder / 'adaptive.json'} and .svg", flush=True)


def _said(row: dict[str, Any]) -> str:
    parts = []
    if row["ratio"] is not None and len(row["clients"]) == 1:
        parts.append(f"makespan ÷ (N/rate) {row['ratio']:.3f}")
    parts.append("throttled " + " and ".join(f"{100 * share:.1f} %" for share in row["throttled"]))
    if "use_after_steps" in row:
        parts.append(
            "used 10 s after each step " + " and ".join(f"{100 * use:.0f} %" for use in row["use_after_steps"])
        )
    if "jain" in row:
        got = " and ".join(f"{rate:.1f}" for rate in row["rates"])
        parts.append(f"{got}/s, {100 * row['use']:.0f} % used, Jain {row['jain']:.3f}")
    if len(row["clients"]) == 1:
        parts.append(f"at most {row['most_in_5_s'][0]:.1f}/s in 5 s")
    return ", ".join(parts)


def _use(tracks: Sequence[Track], begin: float, end: float, rate: float) -> float:
    got = sum(bisect_left(track.accepted, end) - bisect_left(track.accepted, begin) for track in tracks)
    return got / (rate * (end - begin))


@contextmanager
def _changing(url: str, steps: Sequence[tuple[float, float]]) -> Iterator[None]:
    """Change the simulator's quota at these times after its first request."""
    over = threading.Event()

    def change() -> None:
        while not ask(url, "counters")["total"]:
            if over.wait(0.02):
                return
        begun = time.monotonic()
        for since, rate in steps:
            if over.wait(max(0.0, begun + since - time.monotonic())):
                return
            body = json.dumps({"rate": rate}).encode()
            urllib.request.urlopen(urllib.request.Request(f"{url}/_sim/quota", body), timeout=10).close()

    thread = threading.Thread(target=change)
    if steps:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if steps:
            thread.join()
