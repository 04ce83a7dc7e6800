"""Tests that every command of README, how-to guides and reference works twice, with a list that has grown."""

from __future__ import annotations

import gzip
import io
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asyncgg.cli import main
from asyncgg.cli.console import Console
from asyncgg.journal import JournalReader
from asyncgg.models import Summary
from asyncgg.simulator import FleetSpec, Simulator
from asyncgg.simulator.fleet import Fleet
from asyncgg.state.folder_store import open_folder
from tests.support.command_line import CommandRunner, isolated_environment
from tests.support.simulator import fast_config, threaded_simulator

ROOT = Path(__file__).parents[3]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs" / "howto").glob("*.md")),
    ROOT / "docs" / "reference" / "cli.md",
    ROOT / "docs" / "tutorials" / "nightly-cleanup.md",
]
NOT_RUN = {"demo", "simulator", "tune", "decommission"}
"""Commands with tests of their own: without a list, or with the registry of AWS IoT; a simulator does not end."""
OTHER_TESTS = ("s3://fleet/campaigns/", "report model-7.journal", "watch model-7.journal", "doctor --state")
"""Parts of lines with tests of their own: the state of a campaign on several hosts, the journal of a
decommission, and what IAM allows for a state."""

CORES = ("core-berlin-7", "core-lyon-2")
NAMED = ("sensor-000113", "sensor-0815", "sensor-17", "sensor-18")
OLD = [(core, thing) for core in CORES for thing in (f"{core}-{n:03}" for n in range(60))]
OLD += [(CORES[0], thing) for thing in NAMED]
NEW = [(core, f"{core}-new-{n}") for core in CORES for n in range(20)]
PAST = [("core-past", "past-1"), ("core-past", "past-2")]
JOURNALS = ("past.journal", "RUN.journal")

TARGETS = """
[[target]]
name = "prod-eu"
account = "123456789012"
region = "eu-west-1"
"""
ACCOUNTS = """
accounts:
  - {account_id: "123456789012", name: prod, regions: [eu-west-1], tags: [prod]}
"""
SAVED_RUN = "20260131T020000Z"
CAMPAIGNS = ("retire-june", "CAMPAIGN")

POLICY = """
name = "nightly"
[[rule]]
id = "retired"
name = { regex = "(core|sensor)-.*" }
associated-before = "1d"
"""

SECOND_RUN = {
    r"inventory$|inventory --out \S+\.db(?!.*--replace)": "already contains a complete scan; choose another file",
    r"inventory --out fleet\.csv": "fleet.csv already exists; pass --replace, or choose another --out",
    r"fleet disassociate --things .*--campaign": "retire-july is the campaign of another list",
    r"fleet disassociate \S+\.csv .*--campaign": "retire-june has a campaign; continue it with `asyncgg resume",
    r"verify .*--out after\.db": "after.db already contains a complete scan; choose another file",
}
"""Commands that refuse to replace a file of the first run, and how."""


def documented_commands() -> dict[str, str]:
    """Each distinct command line, and the page that shows it first."""
    lines: dict[str, str] = {}
    for page in PAGES:
        blocks = re.findall(r"^```(?:console|sh|text)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.M)
        for line in "".join(blocks).replace("\\\n", " ").splitlines():
            found = re.match(r"(?:\$ |.* && )?asyncgg ([a-z]+\b.*)", line)
            is_tutorial_step = page.parent.name == "tutorials" and "&&" not in line
            if (
                found
                and "[OPTIONS]" not in line
                and not any(part in line for part in OTHER_TESTS)
                and not is_tutorial_step
                and found[1].split()[0] not in NOT_RUN
            ):
                lines.setdefault(found[1], page.name)
    return lines


COMMANDS = documented_commands()


def write_lists(folder: Path, pairs: list[tuple[str, str]]) -> None:
    """The lists of the pages: associations, things and cores in every format."""
    text = "core,thing\n" + "".join(f"{core},{thing}\n" for core, thing in pairs)
    for name in ("fleet.csv", "retired.csv", "failures.csv"):
        (folder / name).write_text(text)
    objects = "".join(json.dumps({"core": core, "thing": thing}) + "\n" for core, thing in pairs)
    (folder / "fleet.jsonl.gz").write_bytes(gzip.compress(objects.encode()))
    cores, things = zip(*pairs, strict=True)
    pq.write_table(pa.table({"core": cores, "thing": things}), folder / "fleet.parquet")
    for name in ("retired.txt", "gone.txt"):
        (folder / name).write_text("".join(f"{thing}\n" for thing in dict.fromkeys(things)))
    for name, lines in {
        "cores.txt": CORES,
        "names.txt": NAMED,
        "old.txt": NAMED,
        "never.txt": ["gateway-*"],
        "mistakes.csv": ["core,thing", "core-past,past-1"],
        "wrong.csv": ["core,thing", "core-past,past-1"],
        "nightly.toml": [POLICY],
        "targets.toml": [TARGETS],
        "accounts.yml": [ACCOUNTS],
    }.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines))


def fleet(*groups: list[tuple[str, str]]) -> FleetSpec:
    """A fleet of the cores of all pages, with these associations."""
    things: dict[str, list[str]] = {core: [] for core in (*CORES, PAST[0][0])}
    for core, thing in (pair for group in groups for pair in group):
        things[core].append(thing)
    return FleetSpec.from_things(things, now=1000.0)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """A service that answers "not found" for what is not associated."""
    with threaded_simulator(fast_config(), fleet(OLD, PAST)) as running:
        yield running


@pytest.fixture(scope="module")
def history(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the lists, a journal of the past, and snapshots from before and after it."""
    folder = tmp_path_factory.mktemp("history")
    write_lists(folder, OLD)
    (folder / "past.csv").write_text("".join(f"{core},{thing}\n" for core, thing in [("core", "thing"), *PAST]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in isolated_environment(AWS_ENDPOINT_URL=simulator.url).items():
            patch.setenv(name, value)
        for words in (
            f"fleet disassociate mistakes.csv --targets targets.toml --campaign {CAMPAIGNS[0]} --yes",
            "undo retire-june --assume-associated --journal undone --yes",
            "inventory --out before.db",
            f"disassociate --core core-past --journal {JOURNALS[0]} --yes",
            "inventory --out fleet.db",
            "fleet inventory --targets targets.toml --out monday",
            "cleanup nightly.toml --dry-run",
        ):
            assert main([*words.split(), "--quiet", "--rate", "500"]) == 0, words
        keep_states_here(patch)
        patch.setattr("asyncgg.run_directory.StateDirectory.create", lambda self, now: self._create(SAVED_RUN))
        simulator.service.fleet = Fleet(fleet(OLD, PAST))
        assert main(["disassociate", "--core", "core-past", "--yes", "--quiet", "--state", "s3://bucket/runs"]) == 0
    shutil.copytree(folder / "nightly.state" / "dry-run", folder / "nightly.state" / SAVED_RUN)
    shutil.copyfile(folder / JOURNALS[0], folder / JOURNALS[1])
    shutil.copytree(folder / CAMPAIGNS[0], folder / CAMPAIGNS[1])
    for name in ("monday.db", "tuesday.db"):
        shutil.copyfile(folder / "before.db", folder / name)
    return folder


class LocalObjects:
    """Opens S3 objects from the working directory."""

    def __init__(self, *_: object) -> None:
        pass

    def open(self, bucket: str, key: str) -> BinaryIO:
        """Open the file with the name of the object."""
        return Path(key).open("rb")


def keep_states_here(patch: pytest.MonkeyPatch) -> None:
    """Open every state in the working directory, whatever its location in S3."""
    patch.setattr("asyncgg.state.s3_store.open_s3_client", lambda *_: nullcontext())
    patch.setattr("asyncgg.state.s3_store.S3Store", lambda *_: open_folder("runs.s3", create=True))


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch, simulator: Simulator) -> None:
    """Someone who confirms every question, with S3 and a webhook at hand."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", simulator.url)
    for module in ("workflow", "restart", "new_campaign", "campaign"):
        monkeypatch.setattr(f"asyncgg.cli.{module}.require_terminal", lambda **options: None)
    keep_states_here(monkeypatch)
    monkeypatch.setattr(Console, "confirm_count", lambda *arguments, **options: None)
    monkeypatch.setattr("asyncgg.manifest.s3.S3Downloader", LocalObjects)
    monkeypatch.setenv("ASYNCGG_QUOTA", "1000")  # waits for nothing
    monkeypatch.setenv("FLEET_WEBHOOK", "http://127.0.0.1:9/")

    async def deliver(*arguments: Any, **options: Any) -> list[str]:
        return []

    monkeypatch.setattr("asyncgg.cli.notify.notify", deliver)


def run_line(cli: CommandRunner, line: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Run a command line with its redirections; exit code and output."""
    words: list[str] = []
    parts = iter(shlex.split(line, comments=True))
    for word in parts:
        if word == "<":
            data = Path(next(parts)).read_bytes()
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        elif re.fullmatch(r"\d?>>?", word):
            next(parts)
        elif word.startswith("/var/lib/asyncgg"):
            words.append(".")
        else:
            words.append(word)
    result = cli(*words)
    return result.code, f"$ asyncgg {line}\n{result.out}{result.err}"


def journals() -> set[Path]:
    """The journals of the working directory, also those of states."""
    return {
        *Path().glob("*.journal"),
        *Path().glob("*.state/2*/run.journal"),
        *Path().glob("*.s3/files/*/run.journal*"),
    }


def new_summaries(known: set[Path]) -> list[Summary]:
    """The summaries of the journals that are not `known`; they become known."""
    summaries = []
    for path in sorted(journals() - known):
        known.add(path)
        with JournalReader(path) as reader:
            summaries.append(reader.summary())
    return summaries


@pytest.mark.usefixtures("person")
@pytest.mark.parametrize("line", COMMANDS, ids=str)
def test_documented_command_works_twice(
    line: str, cli: CommandRunner, history: Path, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 0 both times, with a list that has grown in between: new rows are done, old ones were already."""
    shutil.copytree(history, tmp_path, dirs_exist_ok=True)
    if line.startswith("inventory"):
        (tmp_path / "fleet.db").unlink()
        (tmp_path / "fleet.csv").unlink()
    if "--campaign" in line:
        shutil.rmtree(tmp_path / CAMPAIGNS[0])
    known = journals()
    disassociates = re.match(r"disassociate|cleanup", line) and not re.search(r"--(?:dry-run|check|explain)", line)

    simulator.service.fleet = Fleet(fleet(OLD))
    code, output = run_line(cli, line, monkeypatch)
    assert code == 0, output
    if disassociates:
        (first,) = new_summaries(known)
        assert (first.disassociated, first.already, first.failed) == (len(OLD), 0, 0), output

    if not line.startswith("inventory"):
        write_lists(tmp_path, OLD + NEW)
    for core, thing in NEW:
        simulator.service.fleet.associate(core, thing, 1000.0)
    expected = next((text for pattern, text in SECOND_RUN.items() if re.match(pattern, line)), "")
    code, output = run_line(cli, line, monkeypatch)
    assert code == (2 if expected else 0), output
    assert expected in output
    if disassociates:
        (second,) = new_summaries(known)
        has_manifest = re.match(r"disassociate .*\.(?:csv|parquet|jsonl)", line) is not None
        assert (second.disassociated, second.failed) == (len(NEW), 0), output
        assert second.already == (len(OLD) if has_manifest else 0), output
        assert not any(simulator.service.fleet.things.values())


def test_documented_commands_are_found() -> None:
    """The pages show the nightly command, and no page lost its commands."""
    assert len(COMMANDS) > 50
    assert any("--abort-at 5 --deadline 2h" in line for line in COMMANDS)
    assert {"README.md", "choose-devices.md", "cli.md", "nightly-cleanup.md"} <= set(COMMANDS.values())
