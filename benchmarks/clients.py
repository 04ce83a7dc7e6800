"""Who is measured, and how it is started: asyncgg as its user starts it, asyncgg as a library, the peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import aws_cli

__all__ = ["Client", "asyncgg", "awscli", "own", "peer", "turns"]


@dataclass(frozen=True)
class Client:
    """A Python command line for a URL and a manifest, and what its last line says: sent, lost, seconds, cpu_seconds."""

    name: str
    command: Callable[[str, Path], Sequence[str]]
    read: Callable[[dict[str, Any]], dict[str, Any]] = dict
    most: int | None = None
    """Batches at most, where a client is too slow for everybody's; then one round is enough, too."""


def asyncgg(name: str, *options: str) -> Client:
    """asyncgg as its user starts it; it tells its seconds, but not their share of the process's CPU."""

    def command(url: str, manifest: Path) -> Sequence[str]:
        journal = manifest.with_suffix(".journal")
        journal.unlink(missing_ok=True)
        words = ["-m", "asyncgg", "disassociate", str(manifest), "--yes", "--quiet", "--json", *options]
        return [*words, "--endpoint-url", url, "--journal", str(journal)]

    def read(told: dict[str, Any]) -> dict[str, Any]:
        lost = -(-told["things"]["failed"] // 100)
        return {"sent": told["requests"]["sent"], "lost": lost, "seconds": told["seconds"], "cpu_seconds": None}

    return Client(name, command, read)


def own(name: str, layer: str) -> Client:
    """asyncgg as a library up to a layer."""
    return Client(name, lambda url, manifest: ["-m", "benchmarks.own", layer, url, str(manifest)])


def peer(name: str, kind: str, *options: str, most: int | None = None) -> Client:
    """One of `benchmarks.peers`."""
    return Client(name, lambda url, manifest: ["-m", "benchmarks.peers", kind, url, str(manifest), *options], most=most)


def awscli(most: int) -> list[Client]:
    """The AWS CLI, if there is one; for this many batches, since each takes it half a second of CPU and more."""
    if aws_cli() is None:
        print("there is no AWS CLI: left out (set ASYNCGG_TEST_AWSCLI)")
        return []
    return [peer("AWS CLI under xargs", "cli", most=most)]


def turns(clients: Sequence[Client], rounds: int) -> list[tuple[str, Client]]:
    """Each client in turn, round by round, with what to call that turn."""
    return [
        (f"{number}/{rounds} {client.name}", client)
        for number in range(1, rounds + 1)
        for client in clients
        if number == 1 or client.most is None
    ]
