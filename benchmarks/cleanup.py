"""Run `asyncgg cleanup` against the simulator and moto, and check every removed thing.

`python -m benchmarks.cleanup [--scale N]` (seven minutes). 300 cores with 30,000 client devices:
2,000 are missing in AWS IoT, 500 are in a retired thing group, 200 are not in the keep list; some
of these are protected or too recent. The simulator serves Greengrass, moto serves AWS IoT and S3.
The expected result is generated with the fleet, without asyncgg. Exit code 1 if an association or a
reason is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gzip
import json
import logging
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from asyncgg.journal import JournalReader
from asyncgg.simulator import FleetSpec, SimulatorConfig
from asyncgg.simulator.fleet import Core
from benchmarks.processes import ENVIRONMENT, run_measured, server_process
from benchmarks.simulator_process import query_simulator, read_associations, serve_fleet
from benchmarks.tables import write_results

REGION: Final = "us-east-1"
DAY: Final = 86_400.0
PROTECTED_CORE: Final = "core-00007"
"""A core whose things are all protected."""

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
    """A fleet, its entries in AWS IoT and in the keep list, and the expected result."""

    prefix: str
    """Prefix of every name, so that scenarios do not overlap."""
    things: dict[str, dict[str, float]] = field(default_factory=dict)
    registered: set[str] = field(default_factory=set)
    retired: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    expected: dict[Pair, str] = field(default_factory=dict)
    """Associations to remove, and the rule that selects them."""
    protected: set[Pair] = field(default_factory=set)
    """Associations that a rule selects but a protection keeps."""

    def plan(self) -> FleetSpec:
        """Return the fleet for the simulator."""
        now = time.time()
        return FleetSpec(tuple(Core(name, last_status_update=now) for name in self.things), self.things)

    @property
    def pairs(self) -> set[Pair]:
        """All associations."""
        return {(core, thing) for core, things in self.things.items() for thing in things}


def build_scenario(
    cores: int, things: int, *, orphans: int, retired: int, meters: int, prefix: str = ""
) -> CleanupScenario:
    """Build `cores` cores with `things` things each, some of which match a rule.

    One in twenty orphans and retired things is protected by name, one in twenty orphans is too
    recent, two in three meters are in the keep list. Some orphans are on a second core as well. All
    things of `PROTECTED_CORE` are protected.
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
    """Return the scenario of this benchmark, divided by `scale`."""
    return build_scenario(300 // scale, 100, orphans=2000 // scale, retired=500 // scale, meters=600 // scale)


# --- AWS IoT and S3 ---


def populate_moto(scenario: CleanupScenario, moto: str, bucket: str) -> None:
    """Fill AWS IoT and S3 of moto, which runs in this process, without HTTP."""
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
    """Return the policy of the scenario."""
    return POLICY.format(prefix=scenario.prefix, moto=moto, bucket=bucket, protected_core=PROTECTED_CORE)


@contextmanager
def moto_server() -> Iterator[str]:
    """Run the server of moto in a thread; yield its URL."""
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
    """Yield the problems of a policy run; `remaining` are the associations that still exist."""
    disassociated = scenario.pairs - remaining
    if unexpected := disassociated - scenario.expected.keys():
        yield f"{len(unexpected)} wrongly removed, such as {min(unexpected)}"
    if missing := scenario.expected.keys() - disassociated:
        yield f"{len(missing)} not removed, such as {min(missing)}"
    if protected := disassociated & scenario.protected:
        yield f"{len(protected)} protected associations removed"
    with gzip.open(run_directory / "decisions.csv.gz", "rt", newline="") as file:
        decisions = {(row["core"], row["thing"]): row for row in csv.DictReader(file)}
    if decisions.keys() != scenario.pairs:
        yield "the decisions do not cover the fleet"
    if {pair for pair, row in decisions.items() if row["verdict"] == "selected"} != scenario.expected.keys():
        yield "the selected things are not the expected ones"
    if {pair for pair, row in decisions.items() if row["verdict"] == "protected"} < scenario.protected:
        yield "protected things are missing in the decisions"
    with JournalReader(run_directory / "run.journal") as reader:
        reasons = {(row.core, row.thing): row.reason for row in reader.outcomes()}
    if reasons.keys() != scenario.expected.keys():
        yield "the things of the run are not the expected ones"
    if wrong_reason := {
        pair for pair, rule in scenario.expected.items() if reasons.get(pair, "").split(":")[0] != rule
    }:
        first = min(wrong_reason)
        yield f"{len(wrong_reason)} wrong reasons, such as {first}: {reasons.get(first)}"


# --- the command ---


def run_policy(scale: int) -> tuple[Mapping[str, Any], list[str]]:
    """Run the policy once; return the figures and the problems."""
    scenario = benchmark_scenario(scale)
    simulator = server_process("-m", "benchmarks.cleanup", "--serve", "--scale", str(scale))
    with simulator as greengrass, moto_server() as moto, tempfile.TemporaryDirectory() as folder:
        populate_moto(scenario, moto, "fleet-inventory")
        policy = Path(folder) / "policy.toml"
        policy.write_text(policy_text(scenario, moto, "fleet-inventory"))
        os.environ["AWS_ENDPOINT_URL_S3"] = moto
        arguments = [str(policy), "--endpoint-url", greengrass, "--json", "--quiet"]
        usage = run_measured(["-m", "asyncgg", "cleanup", *arguments])
        report: dict[str, Any] = json.loads(usage.output)
        remaining = read_associations(greengrass)
        resent = query_simulator(greengrass, "things")["resent_after_success"]
        problems = list(check_result(scenario, remaining, Path(report["files"]["report"]).parent))
    if resent:
        problems.append("disassociated things were sent again")
    figures = {
        "cores": len(scenario.things),
        "associations": len(scenario.pairs),
        "expected": dict(Counter(scenario.expected.values())),
        "protected": len(scenario.protected),
        "protected_removed": len((scenario.pairs - remaining) & scenario.protected),
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
    """Run the benchmark; exit code 1 if the result is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--scale", type=int, default=1, help="divide the size of the fleet")
    args = parser.parse_args()
    if args.serve:
        config = SimulatorConfig(rate=30.0, burst=10.0)
        asyncio.run(serve_fleet(config, benchmark_scenario(args.scale).plan()))
        return
    os.environ.update(ENVIRONMENT)
    figures, problems = run_policy(args.scale)
    print(json.dumps(figures, indent=1))
    if args.scale == 1 and not problems:
        write_results("cleanup", **figures)
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
