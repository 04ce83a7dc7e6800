"""Rule: `--things`, `--cores` and `--core` as a person types them, swept or looked up, against the simulator."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from asyncgg.cli import sources
from asyncgg.journal import JournalReader
from asyncgg.runs.provenance import ProvenanceKind, provenance_from_meta
from asyncgg.simulator import FleetSpec, Simulator
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandResult, CommandRunner, isolated_environment, start_process, wait_until

RATE_OPTIONS = ("--rate", "500")
RUN_OPTIONS = (*RATE_OPTIONS, "--yes", "--json", "--journal", "run.journal")
FLEET = FleetSpec.from_things({"core-1": ["a", "b"], "core-2": ["b", "c"], "core-3": []}, now=1000.0)


@pytest.fixture
def simulator(serve: StartSimulator, tmp_path: Path) -> Simulator:
    """A fleet, and a list of things that are to go."""
    (tmp_path / "gone.txt").write_text("# retired in May\nb\nnobody\n")
    return serve(FLEET)


def associations(simulator: Simulator) -> set[tuple[str, str]]:
    """Who is associated with whom now."""
    return {(core, thing) for core, things in simulator.service.fleet.things.items() for thing in things}


def created_files(folder: Path) -> set[str]:
    """What is in the folder beyond the lists."""
    return {path.name for path in folder.iterdir()} - {"fleet.csv", "gone.txt"}


def request_count(simulator: Simulator, operation: str) -> int:
    """How many requests of an operation came in."""
    return int(simulator.service.counters.summary()["requests"].get(operation, 0))


def change_count(simulator: Simulator) -> int:
    """How many requests came in that change something."""
    return request_count(simulator, "BatchDisassociateClientDeviceFromCoreDevice")


def test_things_go_from_wherever_they_are(cli: CommandRunner, simulator: Simulator, tmp_path: Path) -> None:
    """The Region is swept, the things' associations go and no others, and the sweep stays as evidence."""
    ended = cli("disassociate", "--things", "gone.txt", *RUN_OPTIONS)
    assert ended.code == 0, ended.err
    assert ended.json["things"] == ended.json["things"] | {"total": 2, "disassociated": 2, "already": 0}
    assert associations(simulator) == {("core-1", "a"), ("core-2", "c")}
    assert "  source     things of gone.txt, found in run.fleet.db taken 20" in ended.err
    assert "  excluded   1 thing on no core: nobody\n" in ended.err
    assert "--inventory" not in ended.err
    assert created_files(tmp_path) == {"run.journal", "run.fleet.db"}
    with JournalReader(tmp_path / "run.journal") as reader:
        evidence = provenance_from_meta(reader.meta(), reader.path)
    assert evidence is not None
    assert (evidence.kind, evidence.path) == (ProvenanceKind.LISTING, str(tmp_path / "run.fleet.db"))
    undone = cli("undo", "run.journal", *RATE_OPTIONS, "--yes", "--quiet")  # the evidence allows it
    assert undone.code == 0, undone.err
    assert len(associations(simulator)) == 4


def test_cores_lose_all_and_only_they_are_listed(cli: CommandRunner, simulator: Simulator, tmp_path: Path) -> None:
    """A list of cores and names beside it go together; nothing else of the fleet is asked about."""
    (tmp_path / "retired.csv").write_text("site,core\nBerlin,core-1\nLyon,core-9\n")
    ended = cli("disassociate", "--cores", "retired.csv", "--core", "core-3", "--core", "core-1", *RUN_OPTIONS)
    assert ended.code == 0, ended.err
    assert associations(simulator) == {("core-2", "b"), ("core-2", "c")}
    assert "cores of retired.csv and 2 named cores, found in run.fleet.db" in ended.err
    assert "  excluded   1 core not found: core-9\n             1 core without client devices: core-3\n" in ended.err
    assert request_count(simulator, "ListCoreDevices") == 0
    assert request_count(simulator, "ListClientDevicesAssociatedWithCoreDevice") == 3


def test_what_another_operator_removed_is_gone_already(
    cli: CommandRunner, simulator: Simulator, tmp_path: Path
) -> None:
    """Between sweep and run a thing, and a whole core, vanish: no failure, and the summary tells how many."""
    ended = cli(
        "disassociate", "--things", "gone.txt", *RATE_OPTIONS, "--dry-run", "--json", "--journal", "run.journal"
    )
    assert (ended.code, change_count(simulator)) == (0, 0)
    assert ended.err.endswith("Scan saved; reuse it with --inventory run.fleet.db\n")
    assert ended.json["things"] == ended.json["things"] | {"total": 2, "not_found": 1}
    assert ended.json["missing"] == {"not_found": ["nobody"]}
    assert ended.json["inventory"] == "run.fleet.db"
    assert created_files(tmp_path) == {"run.fleet.db"}
    simulator.service.fleet.disassociate("core-1", "b")
    del simulator.service.fleet.cores["core-2"]
    listed = request_count(simulator, "ListClientDevicesAssociatedWithCoreDevice")
    ended = cli("disassociate", "--things", "gone.txt", "--inventory", "run.fleet.db", *RUN_OPTIONS)
    assert ended.code == 0, ended.err
    assert ended.json["things"] == ended.json["things"] | {"disassociated": 2, "already": 2, "failed": 0}
    assert request_count(simulator, "ListClientDevicesAssociatedWithCoreDevice") == listed


def test_a_plan_asks_nobody(cli: CommandRunner, simulator: Simulator) -> None:
    """It needs a finished snapshot, says so, and then tells the same as a run would."""
    refused = cli("plan", "--things", "gone.txt")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "plan does not scan: give --inventory" in refused.err
    assert "fleet.db: no such file" in cli("plan", "--core", "core-1", "--inventory", "fleet.db").err
    assert cli("inventory", *RATE_OPTIONS, "--quiet").code == 0
    request_total = len(simulator.service.counters.log)
    ended = cli("plan", "--core", "core-1", "--core", "core-3", "--inventory", "fleet.db", "--json")
    assert ended.code == 0, ended.err
    assert (ended.json["things"]["total"], ended.json["cores"], ended.json["cores_empty"]) == (2, 1, 1)
    assert len(simulator.service.counters.log) == request_total


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing selected: give a manifest, --things, --cores or --core"),
        (["fleet.csv", "--things", "gone.txt"], "give only one of MANIFEST, --things"),
        (["--things", "gone.txt", "--core", "core-1"], "give only one of MANIFEST, --things"),
        (["fleet.csv", "--inventory", "fleet.db"], "--inventory requires --things, --cores or --core"),
        (["fleet.csv", "--allow-incomplete"], "--allow-incomplete requires --things"),
        (["--things", "gone.txt", "--rejects", "bad.csv"], "--rejects requires a manifest"),
        (["--things", "none.txt"], "none.txt: no such file"),
        (["--things", "fleet.csv", "--max-age", "soon"], "--max-age: 'soon' must be a duration"),
        (["--core", "no name"], "core name `no name`"),
        (["--cores", "gone.txt"], "gone.txt:"),
        (["--things", "gone.txt", "--inventory", "fleet.csv"], "fleet.csv is not an asyncgg"),
        (["--things", "gone.txt", "--inventory", "x", "--journal", "x"], "name the same file"),
        (["--things", "gone.txt", "--journal", "fleet.csv"], "fleet.csv already exists"),
        (["--things", "gone.txt", "--protect", "none.txt"], "none.txt: no such file"),
    ],
)
def test_what_cannot_be_meant(
    cli: CommandRunner, simulator: Simulator, tmp_path: Path, arguments: list[str], words: str
) -> None:
    """Exit 2, one line and a note, before anything is sent or written."""
    (tmp_path / "gone.txt").write_text("b\nno core\n" if "--cores" in arguments else "b\n")
    ended = cli("disassociate", *arguments, "--yes")
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert words in ended.err
    assert ended.err.replace("nothing was sent\n", "").count("\n") == 1
    assert not created_files(tmp_path)
    assert not simulator.service.counters.log


def test_a_list_from_standard_input(cli: CommandRunner, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads the names from there."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a\n")))
    ended = cli("disassociate", "--things", "-", *RUN_OPTIONS)
    assert ended.code == 0, ended.err
    assert "things of <stdin>, found in" in ended.err
    assert len(associations(simulator)) == 3


def test_a_denied_core_stops_it_unless_allowed(cli: CommandRunner, simulator: Simulator, tmp_path: Path) -> None:
    """An incomplete view is exit 4 and names the cores; --allow-incomplete goes on with what was seen."""
    simulator.service.set_faults(["deny@core-2"])
    ended = cli("disassociate", "--things", "gone.txt", *RUN_OPTIONS)
    assert (ended.code, ended.out, change_count(simulator)) == (4, "", 0)
    assert "1 core could not be listed (AccessDeniedException): core-2" in ended.err
    assert "reuse it with --inventory run.fleet.db" in ended.err
    assert created_files(tmp_path) == {"run.fleet.db"}
    ended = cli(
        "disassociate", "--things", "gone.txt", "--inventory", "run.fleet.db", "--allow-incomplete", *RUN_OPTIONS
    )
    assert ended.code == 0, ended.err
    assert associations(simulator) == {("core-1", "a"), ("core-2", "b"), ("core-2", "c")}
    assert "1 core not fully listed: core-2" in ended.err


def test_nothing_to_do(cli: CommandRunner, simulator: Simulator, tmp_path: Path) -> None:
    """When no core holds any of the things that is exit 2, and no journal."""
    (tmp_path / "gone.txt").write_text("nobody\n")
    ended = cli("disassociate", "--things", "gone.txt", *RUN_OPTIONS)
    assert (ended.code, ended.out, change_count(simulator)) == (2, "", 0)
    assert "nothing to do: 1 on no core: nobody\n" in ended.err
    assert created_files(tmp_path) == {"run.fleet.db"}
    second = cli("disassociate", "--things", "gone.txt", *RUN_OPTIONS)  # what is kept is not swept over
    assert second.code == 2
    assert "run.fleet.db already exists; reuse it with --inventory run.fleet.db, or delete it" in second.err


def test_starts_of_one_second_take_free_names(
    cli: CommandRunner, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep that is kept under a name made of the time does not stop the next start."""
    monkeypatch.setattr(sources, "default_journal", lambda: Path("asyncgg-now.journal"))
    options = ("--core", "core-1", *RATE_OPTIONS, "--dry-run", "--quiet")
    assert [cli("disassociate", *options).code for _ in range(2)] == [0, 0]
    assert created_files(tmp_path) == {"asyncgg-now.fleet.db", "asyncgg-now-2.fleet.db"}


def test_a_deadline_ends_the_sweep(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """Exit 10, nothing changed, and how to go on; then it does go on, and lists nothing twice."""
    (tmp_path / "gone.txt").write_text("b\n")
    simulator = serve(FLEET, fault=("429@core-3",))
    options = ("--things", "gone.txt", "--inventory", "my fleet.db", *RUN_OPTIONS)
    ended: CommandResult = cli("disassociate", *options, "--deadline", "400ms", "--quiet")
    assert (ended.code, ended.out, change_count(simulator)) == (10, "", 0), ended.err
    assert ended.err.startswith("error: The scan did not complete (deadline: deadline reached). No changes were made.")
    assert ended.err.endswith("Resume the scan with --inventory 'my fleet.db'\n")
    simulator.service.set_faults([])
    once = [row for row in simulator.service.counters.log if row.core == "core-1"]
    ended = cli("disassociate", *options)
    assert ended.code == 0, ended.err
    assert associations(simulator) == {("core-1", "a"), ("core-2", "c")}
    listed = [row for row in simulator.service.counters.log if row.core == "core-1" and "List" in row.operation]
    assert listed == once


class TerminalInput(io.StringIO):
    """A terminal on which a person has typed."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_a_wrong_number_keeps_the_sweep(
    cli: CommandRunner, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person who does not confirm is told how to use the sweep another time."""
    monkeypatch.setattr(sys, "stdin", TerminalInput("3\n"))
    ended = cli("disassociate", "--things", "gone.txt", *RATE_OPTIONS, "--journal", "run.journal")
    assert ended.code == 2
    assert "Type 2 to disassociate them: " in ended.err
    assert ended.err.endswith("not confirmed, nothing was sent\nScan saved; reuse it with --inventory run.fleet.db\n")
    assert created_files(tmp_path) == {"run.fleet.db"}
    assert change_count(simulator) == 0


def list_request_count(simulator: Simulator, core: str) -> int:
    """How many requests came in that list this core."""
    return sum(row.core == core and row.operation.startswith("List") for row in list(simulator.service.counters.log))


def test_stopped_and_killed_in_the_sweep(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """Ctrl-C, then kill -9, while a core does not answer: nothing is done, and the third start ends the same sweep."""
    (tmp_path / "gone.txt").write_text("b\n")
    simulator = serve(FLEET, fault=("hang@core-2",))
    begin = ("disassociate", "--things", "gone.txt", *RUN_OPTIONS, "--request-timeout", "300ms")

    def interrupt() -> None:
        wait_until(
            lambda: (
                list_request_count(simulator, "core-1")
                and list_request_count(simulator, "core-2")
                and list_request_count(simulator, "core-3")
            )
        )
        os.kill(os.getpid(), signal.SIGINT)

    person = threading.Thread(target=interrupt)
    person.start()
    ended = cli(*begin)
    person.join()
    assert (ended.code, ended.out) == (130, ""), ended.err
    assert ended.err.endswith("No changes were made. Resume the scan with --inventory run.fleet.db\n")

    requests_before = list_request_count(simulator, "core-2")
    process = start_process(
        *begin, cwd=tmp_path, env=isolated_environment(AWS_ENDPOINT_URL=simulator.url)
    )  # finds it by its place
    wait_until(lambda: list_request_count(simulator, "core-2") > requests_before)
    process.kill()
    process.communicate()
    assert change_count(simulator) == 0
    assert not (tmp_path / "run.journal").exists()

    simulator.service.set_faults([])
    ended = cli(*begin, "--inventory", "run.fleet.db")
    assert ended.code == 0, ended.err
    assert associations(simulator) == {("core-1", "a"), ("core-2", "c")}
    assert [list_request_count(simulator, core) for core in ("core-1", "core-3")] == [1, 1]
