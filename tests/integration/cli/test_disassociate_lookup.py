"""Tests of `--things`, `--cores` and `--core` of `disassociate` and `plan`, against the simulator."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from asyncgg.journal import JournalReader
from asyncgg.runs import prepare
from asyncgg.runs.provenance import ProvenanceKind, provenance_from_meta
from asyncgg.simulator import FleetSpec, Simulator
from tests.integration.cli.conftest import StartSimulator
from tests.support.command_line import CommandResult, CommandRunner, isolated_environment, wait_until
from tests.support.programs import Program

RATE_OPTIONS = ("--rate", "500")
PLAN_OPTIONS = ("--inventory", "fleet.db")
NOTHING_FOUND = "nothing was found: are account, Region and list right?"
RUN_OPTIONS = (*RATE_OPTIONS, "--yes", "--json", "--journal", "run.journal")
FLEET = FleetSpec.from_things({"core-1": ["a", "b"], "core-2": ["b", "c"], "core-3": []}, now=1000.0)


@pytest.fixture
def simulator(serve: StartSimulator, tmp_path: Path) -> Simulator:
    """A simulated fleet, and a list of things to disassociate."""
    (tmp_path / "gone.txt").write_text("# retired in May\nb\nghost\n")
    return serve(FLEET)


def associations(simulator: Simulator) -> set[tuple[str, str]]:
    """The current associations, as pairs of core and thing."""
    return {(core, thing) for core, things in simulator.service.fleet.things.items() for thing in things}


def created_files(folder: Path) -> set[str]:
    """The files in the folder besides the lists."""
    return {path.name for path in folder.iterdir()} - {"fleet.csv", "gone.txt"}


def request_count(simulator: Simulator, operation: str) -> int:
    """How many requests of an operation were received."""
    return int(simulator.service.counters.summary()["requests"].get(operation, 0))


def change_count(simulator: Simulator) -> int:
    """How many disassociate requests were received."""
    return request_count(simulator, "BatchDisassociateClientDeviceFromCoreDevice")


def test_things_scan_the_region_and_disassociate_all_associations(
    cli: CommandRunner, simulator: Simulator, tmp_path: Path
) -> None:
    """The Region is scanned, only these things are disassociated, and the scan allows an undo."""
    result = cli("disassociate", "--things", "gone.txt", *RUN_OPTIONS)
    assert result.code == 0, result.err
    assert result.json["things"] == result.json["things"] | {"total": 2, "disassociated": 2, "already": 0}
    assert associations(simulator) == {("core-1", "a"), ("core-2", "c")}
    assert "  source     things of gone.txt, found in run.fleet.db taken 20" in result.err
    assert "  excluded   1 thing on no core: ghost\n" in result.err
    assert "--inventory" not in result.err
    assert created_files(tmp_path) == {"run.journal", "run.fleet.db"}
    with JournalReader(tmp_path / "run.journal") as reader:
        evidence = provenance_from_meta(reader.meta(), reader.path)
    assert evidence is not None
    assert (evidence.kind, evidence.path) == (ProvenanceKind.LISTING, str(tmp_path / "run.fleet.db"))
    undone = cli("undo", "run.journal", *RATE_OPTIONS, "--yes", "--quiet")  # the evidence allows it
    assert undone.code == 0, undone.err
    assert len(associations(simulator)) == 4


def test_cores_list_only_the_named_cores(cli: CommandRunner, simulator: Simulator, tmp_path: Path) -> None:
    """--cores and --core are combined; no other core is listed."""
    (tmp_path / "retired.csv").write_text("site,core\nBerlin,core-1\nLyon,core-9\n")
    result = cli("disassociate", "--cores", "retired.csv", "--core", "core-3", "--core", "core-1", *RUN_OPTIONS)
    assert result.code == 0, result.err
    assert associations(simulator) == {("core-2", "b"), ("core-2", "c")}
    assert "cores of retired.csv and 2 named cores, found in run.fleet.db" in result.err
    assert "  excluded   1 core not found: core-9\n             1 core without client devices: core-3\n" in result.err
    assert request_count(simulator, "ListCoreDevices") == 0
    assert request_count(simulator, "ListClientDevicesAssociatedWithCoreDevice") == 3


def test_things_removed_after_the_scan_count_as_already(
    cli: CommandRunner, simulator: Simulator, tmp_path: Path
) -> None:
    """A thing and a core that vanish between scan and run are no failures."""
    result = cli(
        "disassociate", "--things", "gone.txt", *RATE_OPTIONS, "--dry-run", "--json", "--journal", "run.journal"
    )
    assert (result.code, change_count(simulator)) == (0, 0)
    assert result.err.endswith("Scan saved; reuse it with --inventory run.fleet.db\n")
    assert result.json["things"] == result.json["things"] | {"total": 2, "not_found": 1}
    assert result.json["missing"] == {"not_found": ["ghost"]}
    assert result.json["inventory"] == "run.fleet.db"
    assert created_files(tmp_path) == {"run.fleet.db"}
    simulator.service.fleet.disassociate("core-1", "b")
    del simulator.service.fleet.cores["core-2"]
    listed = request_count(simulator, "ListClientDevicesAssociatedWithCoreDevice")
    result = cli("disassociate", "--things", "gone.txt", "--inventory", "run.fleet.db", *RUN_OPTIONS)
    assert result.code == 0, result.err
    assert result.json["things"] == result.json["things"] | {"disassociated": 0, "already": 2, "failed": 0}
    strict = ("--absent", "fail", "--missing-cores", "fail", *RATE_OPTIONS, "--yes", "--json", "--quiet")
    result = cli("disassociate", "--things", "gone.txt", "--inventory", "run.fleet.db", *strict)
    assert (result.code, result.json["things"]["failed"]) == (3, 2)
    assert request_count(simulator, "ListClientDevicesAssociatedWithCoreDevice") == listed


def test_protect_list_from_standard_input_is_read_once(
    cli: CommandRunner, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list protects from a run whose associations are looked up by a scan."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"core-2\n")))
    result = cli("disassociate", "--things", "gone.txt", "--protect", "-", *RUN_OPTIONS)
    assert result.code == 0, result.err
    assert associations(simulator) == {("core-1", "a"), ("core-2", "b"), ("core-2", "c")}


def test_plan_lookup_needs_a_complete_snapshot_and_sends_nothing(cli: CommandRunner, simulator: Simulator) -> None:
    """Without a snapshot: exit 2; with one the plan sends no request."""
    refused = cli("plan", "--things", "gone.txt")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "plan does not scan: give --inventory" in refused.err
    assert "fleet.db: no such file" in cli("plan", "--core", "core-1", "--inventory", "fleet.db").err
    assert cli("inventory", *RATE_OPTIONS, "--quiet").code == 0
    request_total = len(simulator.service.counters.log)
    result = cli("plan", "--core", "core-1", "--core", "core-3", "--inventory", "fleet.db", "--json")
    assert result.code == 0, result.err
    assert (result.json["things"]["total"], result.json["cores"], result.json["cores_empty"]) == (2, 1, 1)
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
def test_lookup_invalid_arguments_exit_2(
    cli: CommandRunner, simulator: Simulator, tmp_path: Path, arguments: list[str], words: str
) -> None:
    """Exit 2 with one line, before anything is sent or written."""
    (tmp_path / "gone.txt").write_text("b\nno core\n" if "--cores" in arguments else "b\n")
    result = cli("disassociate", *arguments, "--yes")
    assert (result.code, result.out) == (2, ""), result.err
    assert words in result.err
    assert result.err.replace("nothing was sent\n", "").count("\n") == 1
    assert not created_files(tmp_path)
    assert not simulator.service.counters.log


def test_things_dash_reads_standard_input(
    cli: CommandRunner, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-` reads the names from standard input."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a\n")))
    result = cli("disassociate", "--things", "-", *RUN_OPTIONS)
    assert result.code == 0, result.err
    assert "things of <stdin>, found in" in result.err
    assert len(associations(simulator)) == 3


def test_things_denied_core_exits_4_unless_incomplete_is_allowed(
    cli: CommandRunner, simulator: Simulator, tmp_path: Path
) -> None:
    """An incomplete scan names the cores; --allow-incomplete uses what was listed."""
    simulator.service.set_faults(["deny@core-2"])
    result = cli("disassociate", "--things", "gone.txt", *RUN_OPTIONS)
    assert (result.code, result.out, change_count(simulator)) == (4, "", 0)
    assert "1 core could not be listed (AccessDeniedException): core-2" in result.err
    assert "reuse it with --inventory run.fleet.db" in result.err
    assert created_files(tmp_path) == {"run.fleet.db"}
    result = cli(
        "disassociate", "--things", "gone.txt", "--inventory", "run.fleet.db", "--allow-incomplete", *RUN_OPTIONS
    )
    assert result.code == 0, result.err
    assert associations(simulator) == {("core-1", "a"), ("core-2", "b"), ("core-2", "c")}
    assert "1 core not fully listed: core-2" in result.err


@pytest.mark.parametrize(
    ("lookup", "reason"),
    [
        (("--core", "core-1"), "1 core without client devices: core-1"),
        (
            ("--core", "core-1", "--core", "core-9"),
            f"1 core not found: core-9; 1 core without client devices: core-1; {NOTHING_FOUND}",
        ),
        (("--things", "gone.txt"), f"2 things on no core: b, ghost; {NOTHING_FOUND}"),
    ],
)
def test_a_second_run_has_nothing_left_and_exits_0(
    cli: CommandRunner, simulator: Simulator, lookup: tuple[str, ...], reason: str
) -> None:
    """A scheduled job whose work is done succeeds: a summary of 0 things, and a journal like any other."""
    options = (*RATE_OPTIONS, "--yes", "--json", "--quiet")
    first = cli("disassociate", *lookup, *options)
    assert (first.code, first.json["things"]["total"]) == (0, 2), first.err
    changes = change_count(simulator)
    second = cli("disassociate", *lookup, *options)
    assert (second.code, second.err) == (0, "")
    summary = second.json
    assert (summary["state"], summary["reason"], summary["exit"]) == ("complete", reason, 0)
    assert set(summary["things"].values()) == {0}
    assert change_count(simulator) == changes
    for command in ("status", "report", "resume", "verify"):
        assert cli(command, summary["journal"]).code == 0
    assert "complete: nothing left to disassociate" in cli("status", summary["journal"]).out


def test_nothing_left_needs_no_confirmation(
    cli: CommandRunner, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person is not asked to type 0."""
    monkeypatch.setattr(sys, "stdin", TerminalInput(""))
    result = cli("disassociate", "--core", "core-3", *RATE_OPTIONS)
    assert result.code == 0, result.err
    assert "Type" not in result.err
    assert "complete: nothing left to disassociate: 1 core without client devices: core-3\n" in result.out


@pytest.mark.parametrize("source", [("fleet.csv",), ("--things", "gone.txt"), ("--cores", "gone.txt")])
def test_an_empty_list_must_be_allowed(
    cli: CommandRunner, simulator: Simulator, tmp_path: Path, source: tuple[str, ...]
) -> None:
    """A header without rows is an error, or with --allow-empty a run of 0 things that sends nothing."""
    (tmp_path / "fleet.csv").write_text("core,thing\n")
    (tmp_path / "gone.txt").write_text("# none today\n")
    refused = cli("disassociate", *source, *RUN_OPTIONS)
    assert (refused.code, refused.out) == (2, ""), refused.err
    assert "--allow-empty" in refused.err
    assert not created_files(tmp_path)
    allowed = cli("disassociate", *source, *RUN_OPTIONS, "--allow-empty")
    assert (allowed.code, allowed.json["things"]["total"], allowed.json["state"]) == (0, 0, "complete"), allowed.err
    assert not simulator.service.counters.requests.total()
    assert created_files(tmp_path) == {"run.journal"}
    assert (
        cli("plan", *source, "--allow-empty", "--json", *PLAN_OPTIONS[: 2 * (len(source) - 1)]).json["things"]["total"]
        == 0
    )


@pytest.mark.parametrize(("text", "words"), [("", "has no header"), ("core,thing\n,\n", "no valid rows")])
def test_allow_empty_accepts_no_damaged_manifest(
    cli: CommandRunner, simulator: Simulator, tmp_path: Path, text: str, words: str
) -> None:
    """A file of 0 bytes, or of bad rows only, is not an empty list."""
    (tmp_path / "fleet.csv").write_text(text)
    result = cli("disassociate", "fleet.csv", *RUN_OPTIONS, "--allow-empty", "--skip-bad-rows")
    assert (result.code, result.out) == (2, "")
    assert words in result.err
    assert not created_files(tmp_path)


@pytest.mark.parametrize(
    ("options", "suffix"),
    [
        (("--core", "core-1", "--dry-run"), ".fleet.db"),
        (("--core", "core-1", "--yes"), ".fleet.db"),
        (("fleet.csv", "--yes"), ".journal"),
    ],
    ids=["dry run of a lookup", "lookup", "manifest"],
)
def test_runs_in_the_same_second_use_different_default_names(
    cli: CommandRunner,
    simulator: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    suffix: str,
) -> None:
    """The date and time of two runs are equal; both have files of their own."""
    epoch = time.gmtime(0.0)
    clock = SimpleNamespace(strftime=time.strftime, gmtime=lambda: epoch, time=time.time)
    monkeypatch.setattr(prepare, "time", clock)
    (tmp_path / "fleet.csv").write_text("core,thing\ncore-1,a\n")
    arguments = ("disassociate", *options, *RATE_OPTIONS, "--quiet", "--absent", "ok")
    assert [cli(*arguments).code for _ in range(2)] == [0, 0]
    names = {name for name in created_files(tmp_path) if name.endswith(suffix)}
    assert len(names) == 2, names
    assert all(name.startswith("asyncgg-19700101-000000-") for name in names)


def test_scan_deadline_exits_10_and_resumes(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """Exit 10, nothing changed, and a hint; the next call resumes and lists nothing twice."""
    (tmp_path / "gone.txt").write_text("b\n")
    simulator = serve(FLEET, fault=("429@core-3",))
    options = ("--things", "gone.txt", "--inventory", "my fleet.db", *RUN_OPTIONS)
    result: CommandResult = cli("disassociate", *options, "--deadline", "400ms", "--quiet")
    assert (result.code, result.out, change_count(simulator)) == (10, "", 0), result.err
    assert result.err.startswith("error: The scan did not complete (deadline: deadline reached). No changes were made.")
    assert result.err.endswith("Resume the scan with --inventory 'my fleet.db'\n")
    simulator.service.set_faults([])
    once = [row for row in simulator.service.counters.log if row.core == "core-1"]
    result = cli("disassociate", *options)
    assert result.code == 0, result.err
    assert associations(simulator) == {("core-1", "a"), ("core-2", "c")}
    listed = [row for row in simulator.service.counters.log if row.core == "core-1" and "List" in row.operation]
    assert listed == once


class TerminalInput(io.StringIO):
    """Input typed on a terminal."""

    def isatty(self) -> bool:
        """Always a terminal."""
        return True


def test_things_not_confirmed_keeps_the_snapshot(
    cli: CommandRunner, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without confirmation the snapshot is kept, with a hint how to reuse it."""
    monkeypatch.setattr(sys, "stdin", TerminalInput("3\n"))
    result = cli("disassociate", "--things", "gone.txt", *RATE_OPTIONS, "--journal", "run.journal")
    assert result.code == 2
    assert "Type 2 to disassociate them: " in result.err
    assert result.err.endswith("not confirmed, nothing was sent\nScan saved; reuse it with --inventory run.fleet.db\n")
    assert created_files(tmp_path) == {"run.fleet.db"}
    assert change_count(simulator) == 0


def list_request_count(simulator: Simulator, core: str) -> int:
    """How many list requests for this core were received."""
    return sum(row.core == core and row.operation.startswith("List") for row in list(simulator.service.counters.log))


def test_scan_interrupted_and_killed_is_resumed(cli: CommandRunner, serve: StartSimulator, tmp_path: Path) -> None:
    """After Ctrl-C and kill -9 during the scan, nothing has changed and the third call resumes."""
    (tmp_path / "gone.txt").write_text("b\n")
    simulator = serve(FLEET, fault=("hang@core-2",))
    arguments = ("disassociate", "--things", "gone.txt", *RUN_OPTIONS, "--request-timeout", "300ms")

    def interrupt() -> None:
        wait_until(
            lambda: (
                list_request_count(simulator, "core-1")
                and list_request_count(simulator, "core-2")
                and list_request_count(simulator, "core-3")
            )
        )
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    result = cli(*arguments)
    thread.join()
    assert (result.code, result.out) == (130, ""), result.err
    assert result.err.endswith("No changes were made. Resume the scan with --inventory run.fleet.db\n")

    requests_before = list_request_count(simulator, "core-2")
    with Program(  # reuses the default snapshot; killed at the end of the block
        *arguments, home=tmp_path, env=isolated_environment(AWS_ENDPOINT_URL=simulator.url)
    ):
        wait_until(lambda: list_request_count(simulator, "core-2") > requests_before)
    assert change_count(simulator) == 0
    assert not (tmp_path / "run.journal").exists()

    simulator.service.set_faults([])
    result = cli(*arguments, "--inventory", "run.fleet.db")
    assert result.code == 0, result.err
    assert associations(simulator) == {("core-1", "a"), ("core-2", "c")}
    assert [list_request_count(simulator, core) for core in ("core-1", "core-3")] == [1, 1]
