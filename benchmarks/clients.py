"""Command lines of the clients that the benchmarks compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.baselines import aws_cli

__all__ = ["BenchmarkClient", "asyncgg", "asyncgg_library", "awscli", "baseline", "interleave"]


@dataclass(frozen=True)
class BenchmarkClient:
    """A Python command for a URL and a manifest; its last line is JSON for `parse_result`."""

    name: str
    command: Callable[[str, Path], Sequence[str]]
    parse_result: Callable[[dict[str, Any]], dict[str, Any]] = dict
    max_batches: int | None = None
    """Maximum batches of a slow client, which runs in the first round only."""


def asyncgg(name: str, *options: str) -> BenchmarkClient:
    """Return `asyncgg disassociate`, which does not report the CPU of its sending."""

    def command(url: str, manifest: Path) -> Sequence[str]:
        journal = manifest.with_suffix(".journal")
        journal.unlink(missing_ok=True)
        arguments = ["-m", "asyncgg", "disassociate", str(manifest), "--yes", "--quiet", "--json", *options]
        return [*arguments, "--endpoint-url", url, "--journal", str(journal)]

    def parse_result(summary: dict[str, Any]) -> dict[str, Any]:
        lost = -(-summary["things"]["failed"] // 100)
        return {"sent": summary["requests"]["sent"], "lost": lost, "seconds": summary["seconds"], "cpu_seconds": None}

    return BenchmarkClient(name, command, parse_result)


def asyncgg_library(name: str, layer: str) -> BenchmarkClient:
    """Return asyncgg as a library up to a layer."""
    return BenchmarkClient(name, lambda url, manifest: ["-m", "benchmarks.engine_layers", layer, url, str(manifest)])


def baseline(name: str, kind: str, *options: str, max_batches: int | None = None) -> BenchmarkClient:
    """Return a client of `benchmarks.baselines`."""
    return BenchmarkClient(
        name,
        lambda url, manifest: ["-m", "benchmarks.baselines", kind, url, str(manifest), *options],
        max_batches=max_batches,
    )


def awscli(max_batches: int) -> list[BenchmarkClient]:
    """Return the AWS CLI if it is installed; a batch takes more than half a second of its CPU."""
    if aws_cli() is None:
        print("skipping the AWS CLI: not found (set ASYNCGG_TEST_AWSCLI)")
        return []
    return [baseline("AWS CLI under xargs", "cli", max_batches=max_batches)]


def interleave(clients: Sequence[BenchmarkClient], rounds: int) -> list[tuple[str, BenchmarkClient]]:
    """Return each client of each round in turn, with a label."""
    return [
        (f"{number}/{rounds} {client.name}", client)
        for number in range(1, rounds + 1)
        for client in clients
        if number == 1 or client.max_batches is None
    ]
