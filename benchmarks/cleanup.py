"""A whole night of `asyncgg cleanup` against two services: exactly the right ones must go, each with its reason.

`python -m benchmarks.cleanup` (seven minutes). 300 cores with 30,000 client devices; 2,000 of them are not in AWS IoT
any more, 500 are in a retired thing group, 200 are in no list of what must stay, and among all of these some are
protected or too young to go. Greengrass is the simulator, a process of its own; AWS IoT and S3 are moto's server, which
is not our own work. What is right is written down with the fleet, by its facts, and not by anything of asyncgg. Exit
code 1 when a thing that should stay has gone, or the other way round, or when a reason is not the right one.
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
"""A core that the policy protects with all it has."""

Pair = tuple[str, str]

POLICY: Final = """
[[rule]]
id = "orphan"
thing-missing = true
associated-before = "7d"

[[rule]]
id = "retired"
thing-group = "{mark}retired"

[[rule]]
id = "unlisted"
name = "{mark}meter-*"
not-in = "s3://{bucket}/must-stay.csv"

[guards]
max-percent = 40
protect-names = ["{mark}precious-*", "core:{holy}"]
canary = 50

[iot]
endpoint-url = "{moto}"
quota-share = 1.0
describe-thing = 2000
"""


@dataclass
class CleanupScenario:
    """A fleet, what AWS IoT and the list know of it, and what is right."""

    prefix: str
    """In front of every name, so that scenarios do not meet."""
    things: dict[str, dict[str, float]] = field(default_factory=dict)
    registered: set[str] = field(default_factory=set)
    retired: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    expected: dict[Pair, str] = field(default_factory=dict)
    """What must go, and the rule that says so."""
    protected: set[Pair] = field(default_factory=set)
    """What a rule would select, were it not protected."""

    def plan(self) -> FleetSpec:
        """The fleet for the simulator."""
        now = time.time()
        return FleetSpec(tuple(Core(name, last_status_update=now) for name in self.things), self.things)

    @property
    def pairs(self) -> set[Pair]:
        """Every association."""
        return {(core, thing) for core, things in self.things.items() for thing in things}


def build_scenario(
    cores: int, things: int, *, orphans: int, retired: int, meters: int, prefix: str = ""
) -> CleanupScenario:
    """`cores` cores with `things` things each; `orphans`, `retired` and `meters` of all of them, dealt at random.

    Of the orphans one in twenty is protected by name and one in twenty too young, of the retired one in twenty is
    protected, of the meters two in three are listed. Some orphans are on a second core, too. Nothing of `PROTECTED_CORE` goes.
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
    """The scenario of this benchmark, or a `scale`-th of it."""
    return build_scenario(300 // scale, 100, orphans=2000 // scale, retired=500 // scale, meters=600 // scale)


# --- AWS IoT and S3 ---


def populate_moto(scenario: CleanupScenario, moto: str, bucket: str) -> None:
    """Put what they know into moto, which serves in this process: straight, for thousands take long by HTTP."""
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
    return POLICY.format(mark=scenario.prefix, moto=moto, bucket=bucket, holy=PROTECTED_CORE)


@contextmanager
def moto_server() -> Iterator[str]:
    """moto's server, in a thread; its URL."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


# --- what is right ---


def check_result(scenario: CleanupScenario, remaining: set[Pair], run_directory: Path) -> Iterator[str]:
    """What is wrong after the night in this folder, `left` being what is still associated."""
    disassociated = scenario.pairs - remaining
    if unexpected := disassociated - scenario.expected.keys():
        yield f"{len(unexpected)} went that should have stayed, {min(unexpected)} among them"
    if missing := scenario.expected.keys() - disassociated:
        yield f"{len(missing)} stayed that should have gone, {min(missing)} among them"
    if protected := disassociated & scenario.protected:
        yield f"{len(protected)} protected ones went"
    with gzip.open(run_directory / "decisions.csv.gz", "rt", newline="") as file:
        decisions = {(row["core"], row["thing"]): row for row in csv.DictReader(file)}
    if decisions.keys() != scenario.pairs:
        yield "the decisions are not about the fleet"
    if {pair for pair, row in decisions.items() if row["verdict"] == "selected"} != scenario.expected.keys():
        yield "other things are selected than should go"
    if {pair for pair, row in decisions.items() if row["verdict"] == "protected"} < scenario.protected:
        yield "something protected is not said to be"
    with JournalReader(run_directory / "run.journal") as reader:
        reasons = {(row.core, row.thing): row.reason for row in reader.outcomes()}
    if reasons.keys() != scenario.expected.keys():
        yield "the run is about other things than should go"
    if wrong_reason := {
        pair for pair, rule in scenario.expected.items() if reasons.get(pair, "").split(":")[0] != rule
    }:
        yield f"{len(wrong_reason)} have another reason than is right, {min(wrong_reason)} among them: {reasons.get(min(wrong_reason))}"


# --- the command ---


@contextmanager
def serve_in_process(scale: int) -> Iterator[str]:
    """The simulator with that fleet; gives its URL."""
    command = [sys.executable, "-m", "benchmarks.cleanup", "--serve", "--scale", str(scale)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


async def serve(scale: int) -> None:
    """Be that simulator."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Simulator(
        SimulatorConfig(rate=30.0, burst=10.0), fleet_spec=benchmark_scenario(scale).plan()
    ) as simulator:
        print(simulator.url, flush=True)
        await stop.wait()


def run_policy(scale: int) -> tuple[Mapping[str, Any], list[str]]:
    """One night; its figures, and what is wrong."""
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
        problems.append("something was sent again after it had gone")
    figures = {
        "cores": len(scenario.things),
        "associations": len(scenario.pairs),
        "right": dict(Counter(scenario.expected.values())),
        "protected_among_them": len(scenario.protected),
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
    """Do it, print, write; exit code 1 when it is not right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--scale", type=int, default=1, help="divide the fleet by this, to see that it works")
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
