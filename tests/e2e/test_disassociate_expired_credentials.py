"""Tests of `asyncgg disassociate` with credentials that expire during the run."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.journal_queries import assert_consistent
from tests.support.programs import Program, SimulatorProcess, program_environment, run_asyncgg

OPTIONS = {"cores": 60, "things": 10, "rate": "inf", "latency_ms": 50}


def _write_credentials(home: Path, key: str) -> dict[str, str]:
    """Write a credentials file, as single sign-on helpers do; returns an environment with no other credentials."""
    path = home / "credentials"
    new = path.with_suffix(".new")
    new.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret-of-{key}\n")
    new.replace(path)
    variables = program_environment(home, AWS_SHARED_CREDENTIALS_FILE=str(path))
    return {name: value for name, value in variables.items() if "ACCESS_KEY" not in name}


def _start_run(simulator: SimulatorProcess, home: Path) -> Program:
    return Program(
        *("disassociate", simulator.write_manifest(), "--yes", "--json", "--journal", "run.journal"),
        *("--endpoint-url", simulator.url, "--rate", 40),
        home=home,
        env=_write_credentials(home, "OLDKEY"),
    )


def test_disassociate_renewed_credentials_file_continues(tmp_path: Path) -> None:
    """The run uses new credentials of the file when the old ones expire."""
    with SimulatorProcess(tmp_path, **OPTIONS) as simulator:
        fleet = simulator.associations()
        with _start_run(simulator, tmp_path) as program:
            simulator.wait_until(lambda seen: seen["admitted"] >= 5)
            _write_credentials(tmp_path, "NEWKEY")
            simulator.configure("faults", faults=["expired-token@OLD*"])
            ended = program.wait()
        assert ended.code == 0, ended.describe()
        assert simulator.query("counters")["codes"].get("ExpiredTokenException", 0) > 0, "nothing expired"
        assert_consistent(tmp_path / "run.journal", simulator, fleet)
        assert simulator.resent_after_success() == set()
    assert "secret-of" not in ended.out + ended.err


def test_disassociate_expired_credentials_exits_5_and_resumes(tmp_path: Path) -> None:
    """Without new credentials the exit code is 5, and `resume` succeeds as soon as the file has new ones."""
    with SimulatorProcess(tmp_path, **OPTIONS) as simulator:
        fleet = simulator.associations()
        with _start_run(simulator, tmp_path) as program:
            simulator.wait_until(lambda seen: seen["admitted"] >= 5)
            simulator.configure("faults", faults=["expired-token@OLD*"])
            ended = program.wait()
        assert ended.code == 5, ended.describe()
        assert ended.summary["state"] == "aborted"
        assert ended.summary["things"]["pending"] > 0
        assert re.search("still returns the same ones; .*aws sso login", ended.err), ended.describe()
        assert "asyncgg resume" in ended.err
        second = run_asyncgg(
            "resume", "run.journal", "--yes", home=tmp_path, env=_write_credentials(tmp_path, "OLDKEY")
        )
        assert second.code == 5, second.describe()
        resumed = run_asyncgg(
            "resume", "run.journal", "--yes", home=tmp_path, env=_write_credentials(tmp_path, "NEWKEY")
        )
        assert resumed.code == 0, resumed.describe()
        assert_consistent(tmp_path / "run.journal", simulator, fleet)
        assert simulator.resent_after_success() == set()
    assert "secret-of" not in ended.out + ended.err
