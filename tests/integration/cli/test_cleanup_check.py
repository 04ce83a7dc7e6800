"""`asyncgg cleanup POLICY --check`: output, JSON, exit codes."""

from __future__ import annotations

from pathlib import Path

from tests.support.command_line import CommandRunner

GOOD = "[guards]\nmax-things = 5\n[[rule]]\nid = 'orphan'\nthing-missing = true\nnot-in = 's3://b/keep.csv'\n"


def test_check_valid_policy_exits_0(cli: CommandRunner, tmp_path: Path) -> None:
    """asyncgg cleanup nightly.toml --check: exit 0 with rules and permissions."""
    (tmp_path / "nightly.toml").write_text(GOOD)
    result = cli("cleanup", "nightly.toml", "--check")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "nightly.toml: OK (policy nightly)",
        "  rules      orphan",
        "  requires   iot:DescribeThing, s3:GetObject on s3://b/keep.csv",
        "  protects   0 names and globs",
        "  state      nightly.state",
    ]


def test_check_invalid_policy_exits_2(cli: CommandRunner, tmp_path: Path) -> None:
    """asyncgg cleanup nightly.toml --check --json: exit 2 with line and key of each error."""
    (tmp_path / "nightly.toml").write_text("[guard]\n[[rule]]\nname = '*'\n")
    result = cli("cleanup", "nightly.toml", "--check", "--json")
    assert result.code == 2
    assert result.json["schema"] == "asyncgg.cleanup-check/1"
    assert result.json["valid"] is False
    assert [(error["line"], error["key"]) for error in result.json["errors"]] == [(1, "guard"), (3, "rule[1].name")]
    assert result.err.splitlines() == [
        "error: nightly.toml:1: guard: unknown key; did you mean guards?",
        "error: nightly.toml:3: rule[1].name: '*' would select everything",
    ]


def test_check_policy_with_warnings_exits_0(cli: CommandRunner, tmp_path: Path) -> None:
    """asyncgg cleanup nightly.toml --check --json: exit 0 with warnings."""
    (tmp_path / "nightly.toml").write_text("[[rule]]\nindex-query = 'connectivity.connected:false'\n")
    result = cli("cleanup", "nightly.toml", "--check", "--json")
    assert (result.code, result.json["valid"]) == (0, True)
    assert [warning["key"] for warning in result.json["warnings"]] == ["guards", "rule[1]"]
    assert "warning: nightly.toml:1: rule[1]: selects on connectivity alone" in result.err


def test_check_missing_policy_exits_2(cli: CommandRunner) -> None:
    """asyncgg cleanup none.toml --check: exit 2 and one line."""
    result = cli("cleanup", "none.toml", "--check")
    assert (result.code, result.err) == (2, "error: none.toml: policy not found; check the path\n")
