"""Disassociate a manifest without asyncgg: simple loops over other clients, 50 calls at a time.

`python -m benchmarks.baselines KIND URL MANIFEST [--mode MODE] [--rate R]` prints one line of JSON
with the batches lost, and the seconds and CPU of the sending. KIND is a key of `BASELINES`.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import shutil
import subprocess
import tempfile
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import SendMeter

__all__ = ["BASELINES", "aws_cli", "read_batches"]

CONCURRENCY: Final = 50
CLI_CONCURRENCY: Final = 16
"""Each call is a process, so a higher concurrency only makes them wait for a CPU."""

Batch = tuple[str, list[str]]
Baseline = Callable[[str, Sequence[Batch], "str | None", float], tuple[SendMeter, int]]
"""(URL, batches, retry mode or None for the default, rate) → meter, batches lost."""


def read_batches(manifest: Path) -> list[Batch]:
    """Return the batches of a manifest, core by core."""
    cores: dict[str, list[str]] = defaultdict(list)
    with manifest.open(newline="") as file:
        for row in csv.DictReader(file):
            cores[row["core"]].append(row["thing"])
    return [(core, things[i : i + 100]) for core, things in cores.items() for i in range(0, len(things), 100)]


def boto3_threads(url: str, batches: Sequence[Batch], mode: str | None, rate: float) -> tuple[SendMeter, int]:
    """Run boto3: one client, a pool of threads."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client: Any = boto3.client("greengrassv2", endpoint_url=url, config=Config(**_settings(mode)))

    def send(batch: Batch) -> bool:
        core, things = batch
        entries = [{"thingName": thing} for thing in things]
        try:
            client.batch_disassociate_client_device_from_core_device(coreDeviceThingName=core, entries=entries)
        except (BotoCoreError, ClientError):
            return False
        return True

    with SendMeter() as meter, ThreadPoolExecutor(CONCURRENCY) as threads:
        succeeded = sum(threads.map(send, batches))
    return meter, len(batches) - succeeded


def aiobotocore_semaphore(url: str, batches: Sequence[Batch], mode: str | None, rate: float) -> tuple[SendMeter, int]:
    """Run aiobotocore: a task for each batch, a semaphore."""
    return asyncio.run(_aiobotocore(url, batches, mode, lambda: None))


def aiobotocore_limiter(url: str, batches: Sequence[Batch], mode: str | None, rate: float) -> tuple[SendMeter, int]:
    """Run aiobotocore with an aiolimiter at the configured rate."""
    from aiolimiter import AsyncLimiter

    return asyncio.run(_aiobotocore(url, batches, mode, lambda: AsyncLimiter(rate, 1)))


async def _aiobotocore(
    url: str,
    batches: Sequence[Batch],
    mode: str | None,
    make_limiter: Callable[[], AbstractAsyncContextManager[None] | None],
) -> tuple[SendMeter, int]:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session
    from botocore.exceptions import BotoCoreError, ClientError

    semaphore, limiter = asyncio.Semaphore(CONCURRENCY), make_limiter()
    async with get_session().create_client(
        "greengrassv2", endpoint_url=url, config=AioConfig(**_settings(mode))
    ) as client:

        async def call(core: str, things: Sequence[str]) -> None:
            entries = [{"thingName": thing} for thing in things]
            await client.batch_disassociate_client_device_from_core_device(coreDeviceThingName=core, entries=entries)

        async def send(core: str, things: Sequence[str]) -> bool:
            async with semaphore:
                try:
                    if limiter is None:
                        await call(core, things)
                    else:
                        async with limiter:
                            await call(core, things)
                except (BotoCoreError, ClientError):
                    return False
            return True

        with SendMeter() as meter:
            succeeded = sum(await asyncio.gather(*(send(core, things) for core, things in batches)))
    return meter, len(batches) - succeeded


def constant_rate(url: str, batches: Sequence[Batch], mode: str | None, rate: float) -> tuple[SendMeter, int]:
    """Run aiobotocore without retries at a constant rate; failed batches go to the end of the queue."""
    return asyncio.run(_send_at_constant_rate(url, batches, rate))


async def _send_at_constant_rate(url: str, batches: Sequence[Batch], rate: float) -> tuple[SendMeter, int]:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session
    from botocore.exceptions import BotoCoreError, ClientError

    pending, now = deque(batches), asyncio.get_running_loop().time
    config = AioConfig(max_pool_connections=CONCURRENCY, retries={"total_max_attempts": 1})
    async with get_session().create_client("greengrassv2", endpoint_url=url, config=config) as client:

        async def send(batch: Batch) -> None:
            core, things = batch
            entries = [{"thingName": thing} for thing in things]
            try:
                await client.batch_disassociate_client_device_from_core_device(
                    coreDeviceThingName=core, entries=entries
                )
            except (BotoCoreError, ClientError):
                pending.append(batch)

        with SendMeter() as meter:
            next_at, in_flight = now(), set[asyncio.Task[None]]()
            while pending or in_flight:
                if pending:
                    await asyncio.sleep(next_at - now())
                    next_at = max(next_at, now() - 1 / rate) + 1 / rate
                    in_flight.add(asyncio.create_task(send(pending.popleft())))
                else:
                    await asyncio.wait(in_flight, return_when=asyncio.FIRST_COMPLETED)
                in_flight = {task for task in in_flight if not task.done()}
    return meter, 0


def aws_cli() -> str | None:
    """Return the path of the AWS CLI: $ASYNCGG_TEST_AWSCLI, otherwise `aws` on the PATH."""
    return os.environ.get("ASYNCGG_TEST_AWSCLI") or shutil.which("aws")


def cli_xargs(url: str, batches: Sequence[Batch], mode: str | None, rate: float) -> tuple[SendMeter, int]:
    """Run the AWS CLI with xargs: a process and an input file for each batch."""
    command = aws_cli()
    if command is None:
        raise SystemExit("AWS CLI not found: set ASYNCGG_TEST_AWSCLI")
    environment = dict(os.environ) | ({"AWS_RETRY_MODE": mode} if mode else {})
    script = '"$0" greengrassv2 batch-disassociate-client-device-from-core-device --endpoint-url "$1"'
    script += ' --cli-input-json "file://$2" >/dev/null 2>&1 || echo lost'
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.json" for number in range(len(batches))]
        for file, (core, things) in zip(files, batches, strict=True):
            file.write_text(
                json.dumps({"coreDeviceThingName": core, "entries": [{"thingName": thing} for thing in things]})
            )
        xargs_command = ["xargs", "-n", "1", "-P", str(CLI_CONCURRENCY), "sh", "-c", script, command, url]
        with SendMeter() as meter:
            completed = subprocess.run(
                xargs_command,
                env=environment,
                input="\n".join(map(str, files)),
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
    return meter, completed.stdout.count("lost")


def _settings(mode: str | None) -> dict[str, Any]:
    return {"max_pool_connections": CONCURRENCY} | ({"retries": {"mode": mode}} if mode else {})


BASELINES: Final[dict[str, Baseline]] = {
    "boto3": boto3_threads,
    "aiobotocore": aiobotocore_semaphore,
    "aiolimiter": aiobotocore_limiter,
    "cli": cli_xargs,
    "constant": constant_rate,
}


def main() -> None:
    """Disassociate the manifest and print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=BASELINES)
    parser.add_argument("url")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--mode", choices=("legacy", "standard", "adaptive"))
    parser.add_argument("--rate", type=float, default=50.0)
    args = parser.parse_args()
    batches = read_batches(args.manifest)
    meter, lost = BASELINES[args.kind](args.url, batches, args.mode, args.rate)
    meter.report(sent=len(batches), lost=lost)


if __name__ == "__main__":
    main()
