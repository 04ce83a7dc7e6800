"""Tests of commands that must fail before they send a request."""

from __future__ import annotations

import json
import re
import socket
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.invalid_inputs import CASES, VALID_MANIFEST, InvalidInput
from tests.support.programs import SimulatorProcess, program_environment, run_asyncgg


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_command_invalid_input_exits_before_any_request(case: InvalidInput, tmp_path: Path) -> None:
    """The command writes its message, exits with its code, sends no request and leaves no files."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in case.files.items():
        (folder / name).write_bytes(content)
    resource = case.setup(folder)
    before = set(folder.rglob("*"))
    (stdin := tmp_path / "stdin").write_bytes(case.stdin)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        defaults: dict[str, str | None] = {
            **program_environment(folder),
            **({"AWS_ENDPOINT_URL": url} if case.uses_endpoint else {}),
        }
        variables = {key: value for key, value in {**defaults, **case.env}.items() if value is not None}
        with stdin.open("rb") as file:
            arguments = [argument.replace("{url}", url) for argument in case.arguments]
            ended = run_asyncgg(*arguments, home=folder, env=variables, stdin=file)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):  # no connection arrived
            listener.accept()
    if hasattr(resource, "close"):
        resource.close()
    changed = sorted(str(path.relative_to(folder)) for path in set(folder.rglob("*")) ^ before)
    assert ended.code == case.exit_code, ended.describe()
    assert re.search(case.message_pattern, ended.err), ended.describe()
    assert "Traceback" not in ended.err, ended.describe()
    assert len(ended.err.strip().splitlines()) <= case.max_lines, ended.describe()
    assert ended.out == "" or ("--json" in case.arguments and isinstance(json.loads(ended.out), dict)), ended.describe()
    assert changed == list(case.allowed_files)


def test_disassociate_skip_bad_rows_processes_valid_rows(tmp_path: Path) -> None:
    """--skip-bad-rows processes the valid rows and counts the bad ones, and --rejects writes them to a file."""
    content = VALID_MANIFEST + b"core-1,\ncore-1,thing/3\ncore-1,thing-1\n"
    (tmp_path / "fleet.csv").write_bytes(content)
    with SimulatorProcess(tmp_path, cores=1, things=1, not_found="success", rate="inf", latency_ms=0) as simulator:
        simulator.configure("faults", faults=[])
        ended = run_asyncgg(
            *("disassociate", "fleet.csv", "--yes", "--json", "--skip-bad-rows", "--rejects", "bad.csv"),
            *("--endpoint-url", simulator.url),
            home=tmp_path,
        )
        sent = simulator.request_count()
    assert ended.code == 3, ended.describe()  # the simulator has no core-1
    assert {"total": 2, "rejected": 2, "duplicates": 1}.items() <= ended.summary["things"].items()
    assert sent == 1
    assert "fleet.csv:4: thing is empty" in ended.err
    assert len((tmp_path / "bad.csv").read_text().splitlines()) == 3


def test_disassociate_other_account_exits_4(tmp_path: Path) -> None:
    """--expect-account calls STS, and credentials of another account end the command before any request."""
    (tmp_path / "fleet.csv").write_bytes(VALID_MANIFEST)
    with SimulatorProcess(tmp_path, cores=1, things=1, account="123456789012") as simulator:
        ended = run_asyncgg(
            *("disassociate", "fleet.csv", "--yes", "--expect-account", "210987654321"),
            *("--endpoint-url", simulator.url, "--journal", "run.journal"),
            home=tmp_path,
        )
        counters = simulator.query("counters")
    assert ended.code == 4, ended.describe()
    assert re.search("account 123456789012, not 210987654321", ended.err)
    assert (counters["identity"], counters["total"]) == (1, 0)
    assert not list(tmp_path.glob("*journal*"))
