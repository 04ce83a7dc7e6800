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
from benchmarks.processes import measured
from benchmarks.simulated import ENVIRONMENT, ask

RESULTS: Final = Path(__file__).parent / "results" / "cleanup.json"
REGION: Final = "us-east-1"
DAY: Final = 86_400.0
HOLY: Final = "core-00007"
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
share = 1.0
describe-thing = 2000
"""


@dataclass
class Scenario:
    """A fleet, what AWS IoT and the list know of it, and what is right."""

    mark: str
    """In front of every name, so that scenarios do not meet."""
    things: dict[str, dict[str, float]] = field(default_factory=dict)
    registered: set[str] = field(default_factory=set)
    retired: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    right: dict[Pair, str] = field(default_factory=dict)
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


def scenario(cores: int, things: int, *, orphans: int, retired: int, meters: int, mark: str = "") -> Scenario:
    """`cores` cores with `things` things each; `orphans`, `retired` and `meters` of all of them, dealt at random.

    Of the orphans one in twenty is protected by name and one in twenty too young, of the retired one in twenty is
    protected, of the meters two in three are listed. Some orphans are on a second core, too. Nothing of `HOLY` goes.
    """
    made, dice, now = Scenario(mark), random.Random(7), time.time()
    names = [f"core-{number:05}" for number in range(1, cores + 1)]
    made.things = {name: {} for name in names}
    places = [core for core in names for _ in range(things)]
    dice.shuffle(places)
    made.registered.update(names)
    for number, core in enumerate(places):
        role, place = _role(number, orphans, retired, meters)
        precious, young = place % 20 == 3 and role in {"orphan", "retired"}, place % 20 == 11 and role == "orphan"
        thing = f"{mark}{'precious-' if precious else ''}{'meter' if role == 'unlisted' else 'sensor'}-{number:06}"
        if role != "orphan":
            made.registered.add(thing)
        if role == "retired":
            made.retired.add(thing)
        if role == "unlisted" and place % 3:
            made.listed.add(thing)
        would_go = bool(role) and not young and thing not in made.listed
        for on in {core, dice.choice(names)} if role == "orphan" and place % 50 == 20 else {core}:
            made.things[on][thing] = now - (DAY if young else dice.uniform(30, 900) * DAY)
            if would_go and (precious or on == HOLY):
                made.protected.add((on, thing))
            elif would_go:
                made.right[on, thing] = role
    return made


def _role(number: int, orphans: int, retired: int, meters: int) -> tuple[str, int]:
    for role, amount in (("orphan", orphans), ("retired", retired), ("unlisted", meters)):
        if number < amount:
            return role, number
        number -= amount
    return "", number


def full(scale: int) -> Scenario:
    """The scenario of this benchmark, or a `scale`-th of it."""
    return scenario(300 // scale, 100, orphans=2000 // scale, retired=500 // scale, meters=600 // scale)


# --- AWS IoT and S3 ---


def furnish(made: Scenario, moto: str, bucket: str) -> None:
    """Put what they know into moto, which serves in this process: straight, for thousands take long by HTTP."""
    import boto3
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.iot.models import iot_backends

    iot = iot_backends[DEFAULT_ACCOUNT_ID][REGION]
    group = f"{made.mark}retired"
    iot.create_thing_group(group, "", {})
    things = {name: iot.create_thing(name, "", None) for name in sorted(made.registered)}
    members = iot.thing_groups[next(arn for arn in iot.thing_groups if arn.endswith(f"/{group}"))].things
    members.update({things[name].arn: things[name] for name in sorted(made.retired)})
    s3: Any = boto3.client(
        "s3", endpoint_url=moto, region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b"
    )
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="must-stay.csv", Body="\n".join(["thing", *sorted(made.listed)]).encode())
    s3.close()


def policy_text(made: Scenario, moto: str, bucket: str) -> str:
    """The policy of the scenario."""
    return POLICY.format(mark=made.mark, moto=moto, bucket=bucket, holy=HOLY)


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


def faults_of(made: Scenario, left: set[Pair], night: Path) -> Iterator[str]:
    """What is wrong after the night in this folder, `left` being what is still associated."""
    gone = made.pairs - left
    if wrong := gone - made.right.keys():
        yield f"{len(wrong)} went that should have stayed, {min(wrong)} among them"
    if missed := made.right.keys() - gone:
        yield f"{len(missed)} stayed that should have gone, {min(missed)} among them"
    if touched := gone & made.protected:
        yield f"{len(touched)} protected ones went"
    with gzip.open(night / "decisions.csv.gz", "rt", newline="") as file:
        decided = {(row["core"], row["thing"]): row for row in csv.DictReader(file)}
    if decided.keys() != made.pairs:
        yield "the decisions are not about the fleet"
    if {pair for pair, row in decided.items() if row["verdict"] == "selected"} != made.right.keys():
        yield "other things are selected than should go"
    if {pair for pair, row in decided.items() if row["verdict"] == "protected"} < made.protected:
        yield "something protected is not said to be"
    with JournalReader(night / "run.journal") as reader:
        why = {(row.core, row.thing): row.reason for row in reader.outcomes()}
    if why.keys() != made.right.keys():
        yield "the run is about other things than should go"
    if odd := {pair for pair, rule in made.right.items() if why.get(pair, "").split(":")[0] != rule}:
        yield f"{len(odd)} have another reason than is right, {min(odd)} among them: {why.get(min(odd))}"


# --- the command ---


@contextmanager
def served(scale: int) -> Iterator[str]:
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
    async with Simulator(SimulatorConfig(rate=30.0, burst=10.0), fleet_spec=full(scale).plan()) as simulator:
        print(simulator.url, flush=True)
        await stop.wait()


def night(scale: int) -> tuple[Mapping[str, Any], list[str]]:
    """One night; its figures, and what is wrong."""
    made = full(scale)
    with served(scale) as greengrass, moto_server() as moto, tempfile.TemporaryDirectory() as folder:
        furnish(made, moto, "fleet-inventory")
        policy = Path(folder) / "night.toml"
        policy.write_text(policy_text(made, moto, "fleet-inventory"))
        os.environ["AWS_ENDPOINT_URL_S3"] = moto
        words = [str(policy), "--endpoint-url", greengrass, "--json", "--quiet"]
        used = measured(["-m", "asyncgg", "cleanup", *words])
        told: dict[str, Any] = json.loads(used.output)
        left = {(core, thing) for core, things in ask(greengrass, "state").items() for thing in things}
        resent = ask(greengrass, "things")["resent_after_success"]
        faults = list(faults_of(made, left, Path(told["files"]["report"]).parent))
    if resent:
        faults.append("something was sent again after it had gone")
    figures = {
        "cores": len(made.things),
        "associations": len(made.pairs),
        "right": dict(Counter(made.right.values())),
        "protected_among_them": len(made.protected),
        "protected_touched": len((made.pairs - left) & made.protected),
        "disassociated": told["run"]["things"]["disassociated"],
        "decisions": told["decisions"],
        "questions": told["questions"],
        "canary": told["canary"],
        "requests": {"sweep": told["sweep"]["requests"], "run": told["run"]["requests"]},
        "seconds": round(used.seconds, 1),
        "peak_mb": round(used.peak_mb, 1),
    }
    return figures, faults


def main() -> None:
    """Do it, print, write; exit code 1 when it is not right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--scale", type=int, default=1, help="divide the fleet by this, to see that it works")
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.scale))
        return
    os.environ.update(ENVIRONMENT)
    figures, faults = night(given.scale)
    print(json.dumps(figures, indent=1))
    if given.scale == 1 and not faults:
        dated = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "python": platform.python_version()}
        RESULTS.write_text(json.dumps({**dated, "cpus": os.cpu_count(), **figures}, indent=1) + "\n")
        print(f"written to benchmarks/results/{RESULTS.name}")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
