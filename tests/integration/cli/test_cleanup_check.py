"""Rule: `asyncgg cleanup POLICY --check` lives here: its words, its object, its exit codes."""

from __future__ import annotations

from pathlib import Path

from tests.support.command_line import CommandRunner

GOOD = "[guards]\nmax-things = 5\n[[rule]]\nid = 'orphan'\nthing-missing = true\nnot-in = 's3://b/keep.csv'\n"


def test_a_sound_policy(cli: CommandRunner, tmp_path: Path) -> None:
    """asyncgg cleanup nightly.toml --check: exit 0, what it will ask, and nobody is asked."""
    (tmp_path / "nightly.toml").write_text(GOOD)
    ended = cli("cleanup", "nightly.toml", "--check")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "nightly.toml: the policy nightly is sound",
        "  rules      orphan",
        "  asks       iot:DescribeThing, s3:GetObject on s3://b/keep.csv",
        "  protects   0 names and globs",
        "  state      nightly.state",
    ]


def test_a_faulty_policy(cli: CommandRunner, tmp_path: Path) -> None:
    """asyncgg cleanup nightly.toml --check --json: exit 2, each fault with key and line, on both streams."""
    (tmp_path / "nightly.toml").write_text("[guard]\n[[rule]]\nname = '*'\n")
    ended = cli("cleanup", "nightly.toml", "--check", "--json")
    assert ended.code == 2
    assert ended.json["schema"] == "asyncgg.cleanup-check/1"
    assert ended.json["valid"] is False
    assert [(one["line"], one["key"]) for one in ended.json["errors"]] == [(1, "guard"), (3, "rule[1].name")]
    assert ended.err.splitlines() == [
        "error: nightly.toml:1: guard: unknown key; did you mean guards?",
        "error: nightly.toml:3: rule[1].name: '*' would select everything",
    ]


def test_a_doubtful_policy(cli: CommandRunner, tmp_path: Path) -> None:
    """asyncgg cleanup nightly.toml --check: what is doubted is told, and is no failure."""
    (tmp_path / "nightly.toml").write_text("[[rule]]\nindex-query = 'connectivity.connected:false'\n")
    ended = cli("cleanup", "nightly.toml", "--check", "--json")
    assert (ended.code, ended.json["valid"]) == (0, True)
    assert [one["key"] for one in ended.json["warnings"]] == ["guards", "rule[1]"]
    assert "warning: nightly.toml:1: rule[1]: selects on connectivity alone" in ended.err


def test_no_policy(cli: CommandRunner) -> None:
    """asyncgg cleanup none.toml --check: exit 2 and one line."""
    ended = cli("cleanup", "none.toml", "--check")
    assert (ended.code, ended.err) == (2, "error: none.toml: policy not found; check the path\n")
