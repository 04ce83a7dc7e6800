"""A complete run of `asyncgg cleanup`: exactly the expected things must be removed, with reasons.

`python -m benchmarks.cleanup` takes seven minutes. 300 cores have 30,000 client devices: 2,000 are
not in AWS IoT, 500 are in a retired thing group, 200 are missing in a list of things to keep; some
of these are protected or too new. The simulator serves Greengrass, moto serves AWS IoT and S3. The
fleet itself has the expected result. The exit code is 1 if any thing or reason differs from it.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gzip
import json
import logging
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from asyncgg.journal import JournalReader
from asyncgg.simulator import FleetSpec, Simulator, SimulatorConfig
from asyncgg.simulator.fleet import Core
from benchmarks.processes import run_measured
from benchmarks.simulator_process import ENVIRONMENT, query_simulator

RESULTS: Final = Path(__file__).parent / "results" / "cleanup.json"
REGION: Final = "us-east-1"
DAY: Final = 86_400.0
PROTECTED_CORE: Final = "core-00007"
"""A core that the policy protects."""

Pair = tuple[str, str]

POLICY: Final = """
[[rule]]
id = "orphan"
thing-missing = true
associated-before = "7d"

[[rule]]
id = "retired"
thing-group = "{prefix}retired"

[[rule]]
id = "unlisted"
name = "{prefix}meter-*"
not-in = "s3://{bucket}/must-stay.csv"

[guards]
max-percent = 40
protect-names = ["{prefix}precious-*", "core:{protected_core}"]
canary = 50

[iot]
endpoint-url = "{moto}"
quota-share = 1.0
describe-thing = 2000
"""


@dataclass
class CleanupScenario:
    """A fleet, the contents of AWS IoT and the list, and the expected result."""

    prefix: str
    """Prefix of all names, so that scenarios do not collide."""
    things: dict[str, dict[str, float]] = field(default_factory=dict)
    registered: set[str] = field(default_factory=set)
    retired: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    expected: dict[Pair, str] = field(default_factory=dict)
    """The associations to remove, with their rules."""
    protected: set[Pair] = field(default_factory=set)
    """Protected associations that match a rule."""

    def plan(self) -> FleetSpec:
        """The fleet for the simulator."""
        now = time.time()
        return FleetSpec(tuple(Core(name, last_status_update=now) for name in self.things), self.things)

    @property
    def pairs(self) -> set[Pair]:
        """All associations."""
        return {(core, thing) for core, things in self.things.items() for thing in things}


def build_scenario(
    cores: int, things: int, *, orphans: int, retired: int, meters: int, prefix: str = ""
) -> CleanupScenario:
    """`cores` cores with `things` things each, some of which match a rule, at random places.

    Of the orphans, 5 % are protected by name, 5 % are too new, and some are on two cores. Of the
    retired, 5 % are protected. Of the meters, two in three are listed. `PROTECTED_CORE` keeps all.
    """
    result, rng, now = CleanupScenario(prefix), random.Random(7), time.time()
    names = [f"core-{number:05}" for number in range(1, cores + 1)]
    result.things = {name: {} for name in names}
    slots = [core for core in names for _ in range(things)]
    rng.shuffle(slots)
    result.registered.update(names)
    for number, core in enumerate(slots):
        role, index = _role(number, orphans, retired, meters)
        is_protected, is_recent = (
            index % 20 == 3 and role in {"orphan", "retired"},
            index % 20 == 11 and role == "orphan",
        )
        thing = (
            f"{prefix}{'precious-' if is_protected else ''}{'meter' if role == 'unlisted' else 'sensor'}-{number:06}"
        )
        if role != "orphan":
            result.registered.add(thing)
        if role == "retired":
            result.retired.add(thing)
        if role == "unlisted" and index % 3:
            result.listed.add(thing)
        matches_rule = bool(role) and not is_recent and thing not in result.listed
        for associated_core in {core, rng.choice(names)} if role == "orphan" and index % 50 == 20 else {core}:
            result.things[associated_core][thing] = now - (DAY if is_recent else rng.uniform(30, 900) * DAY)
            if matches_rule and (is_protected or associated_core == PROTECTED_CORE):
                result.protected.add((associated_core, thing))
            elif matches_rule:
                result.expected[associated_core, thing] = role
    return result


def _role(number: int, orphans: int, retired: int, meters: int) -> tuple[str, int]:
    for role, amount in (("orphan", orphans), ("retired", retired), ("unlisted", meters)):
        if number < amount:
            return role, number
        number -= amount
    return "", number


def benchmark_scenario(scale: int) -> CleanupScenario:
    """The scenario of this benchmark, divided by `scale`."""
    return build_scenario(300 // scale, 100, orphans=2000 // scale, retired=500 // scale, meters=600 // scale)


# --- AWS IoT and S3 ---


def populate_moto(scenario: CleanupScenario, moto: str, bucket: str) -> None:
    """Fill moto, which runs in this process, directly: thousands of HTTP calls take too long."""
    import boto3
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.iot.models import iot_backends

    iot = iot_backends[DEFAULT_ACCOUNT_ID][REGION]
    group = f"{scenario.prefix}retired"
    iot.create_thing_group(group, "", {})
    things = {name: iot.create_thing(name, "", None) for name in sorted(scenario.registered)}
    members = iot.thing_groups[next(arn for arn in iot.thing_groups if arn.endswith(f"/{group}"))].things
    members.update({things[name].arn: things[name] for name in sorted(scenario.retired)})
    s3: Any = boto3.client(
        "s3", endpoint_url=moto, region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b"
    )
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="must-stay.csv", Body="\n".join(["thing", *sorted(scenario.listed)]).encode())
    s3.close()


def policy_text(scenario: CleanupScenario, moto: str, bucket: str) -> str:
    """The policy of the scenario."""
    return POLICY.format(prefix=scenario.prefix, moto=moto, bucket=bucket, protected_core=PROTECTED_CORE)


@contextmanager
def moto_server() -> Iterator[str]:
    """Serve moto in a thread; its URL."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


# --- checks ---


def check_result(scenario: CleanupScenario, remaining: set[Pair], run_directory: Path) -> Iterator[str]:
    """Each difference from the expected result. `remaining`: what is still associated."""
    disassociated = scenario.pairs - remaining
    if unexpected := disassociated - scenario.expected.keys():
        yield f"{len(unexpected)} things were removed unexpectedly, like {min(unexpected)}"
    if missing := scenario.expected.keys() - disassociated:
        yield f"{len(missing)} things were not removed, like {min(missing)}"
    if protected := disassociated & scenario.protected:
        yield f"{len(protected)} protected things were removed"
    with gzip.open(run_directory / "decisions.csv.gz", "rt", newline="") as file:
        decisions = {(row["core"], row["thing"]): row for row in csv.DictReader(file)}
    if decisions.keys() != scenario.pairs:
        yield "the decisions differ from the fleet"
    if {pair for pair, row in decisions.items() if row["verdict"] == "selected"} != scenario.expected.keys():
        yield "the selected things differ from the expected ones"
    if {pair for pair, row in decisions.items() if row["verdict"] == "protected"} < scenario.protected:
        yield "a protected thing is not marked as protected"
    with JournalReader(run_directory / "run.journal") as reader:
        reasons = {(row.core, row.thing): row.reason for row in reader.outcomes()}
    if reasons.keys() != scenario.expected.keys():
        yield "the things of the journal differ from the expected ones"
    if wrong_reason := {
        pair for pair, rule in scenario.expected.items() if reasons.get(pair, "").split(":")[0] != rule
    }:
        example = min(wrong_reason)
        yield f"{len(wrong_reason)} things have an unexpected reason, like {example}: {reasons.get(example)}"


# --- the command ---


@contextmanager
def serve_in_process(scale: int) -> Iterator[str]:
    """Run the simulator with this fleet in a process; its URL."""
    command = [sys.executable, "-m", "benchmarks.cleanup", "--serve", "--scale", str(scale)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


async def serve(scale: int) -> None:
    """Run the simulator until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Simulator(
        SimulatorConfig(rate=30.0, burst=10.0), fleet_spec=benchmark_scenario(scale).plan()
    ) as simulator:
        print(simulator.url, flush=True)
        await stop.wait()


def run_policy(scale: int) -> tuple[Mapping[str, Any], list[str]]:
    """Run the policy once; figures and problems."""
    scenario = benchmark_scenario(scale)
    with serve_in_process(scale) as greengrass, moto_server() as moto, tempfile.TemporaryDirectory() as folder:
        populate_moto(scenario, moto, "fleet-inventory")
        policy = Path(folder) / "nightly.toml"
        policy.write_text(policy_text(scenario, moto, "fleet-inventory"))
        os.environ["AWS_ENDPOINT_URL_S3"] = moto
        arguments = [str(policy), "--endpoint-url", greengrass, "--json", "--quiet"]
        usage = run_measured(["-m", "asyncgg", "cleanup", *arguments])
        report: dict[str, Any] = json.loads(usage.output)
        remaining = {(core, thing) for core, things in query_simulator(greengrass, "state").items() for thing in things}
        resent = query_simulator(greengrass, "things")["resent_after_success"]
        problems = list(check_result(scenario, remaining, Path(report["files"]["report"]).parent))
    if resent:
        problems.append("a removed thing was sent again")
    figures = {
        "cores": len(scenario.things),
        "associations": len(scenario.pairs),
        "expected": dict(Counter(scenario.expected.values())),
        "protected": len(scenario.protected),
        "protected_touched": len((scenario.pairs - remaining) & scenario.protected),
        "disassociated": report["run"]["things"]["disassociated"],
        "decisions": report["decisions"],
        "registry_queries": report["registry_queries"],
        "canary": report["canary"],
        "requests": {"scan": report["scan"]["requests"], "run": report["run"]["requests"]},
        "seconds": round(usage.seconds, 1),
        "peak_mb": round(usage.peak_mb, 1),
    }
    return figures, problems


def main() -> None:
    """Run, print and write the figures; exit code 1 on problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--scale", type=int, default=1, help="divide the size of the fleet by this")
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(args.scale))
        return
    os.environ.update(ENVIRONMENT)
    figures, problems = run_policy(args.scale)
    print(json.dumps(figures, indent=1))
    if args.scale == 1 and not problems:
        dated = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "python": platform.python_version()}
        RESULTS.write_text(json.dumps({**dated, "cpus": os.cpu_count(), **figures}, indent=1) + "\n")
        print(f"written to benchmarks/results/{RESULTS.name}")
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
