"""Warnings about valid policies."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncgg.cleanup.policy.loader import check_policy
from tests.support.cleanup_rules import warning_lines, write_policy

CONNECTIVITY = "3: rule[1]: selects on connectivity alone"


@pytest.mark.parametrize(
    ("rule", "warns"),
    [
        ("index-query = 'connectivity.connected:false'", True),
        ("index-query = 'connectivity.connected:false'\nname = 'a*'\nassociated-before = '9d'\nthing-type = 't'", True),
        ("index-query = 'connectivity.connected:false AND thingTypeName:t'", True),
        ("any = [{ index-query = 'connectivity.connected:false' }, { thing-missing = true }]", True),
        ("not = { index-query = 'connectivity.connected:true' }", True),
        ("index-query = 'connectivity.connected:false'\ncore-offline-for = '9d'", False),
        ("index-query = 'connectivity.connected:false'\nnot-in = 's3://a/b'", False),
        ("index-query = 'connectivity.connected:false AND attributes.retired:true'", False),
        ("index-query = 'attributes.note:\"connectivity.connected:false\"'", False),
        ("any = [{ name = 'a*' }, { index-query = 'connectivity.connected:false' }]", False),
    ],
)
def test_lint_policy_connectivity_only_warns(tmp_path: Path, rule: str, warns: bool) -> None:
    """A rule that can select by connectivity alone has a warning."""
    assert any(line.startswith(CONNECTIVITY) for line in warning_lines(tmp_path, rule)) is warns


def test_lint_policy_other_warnings(tmp_path: Path) -> None:
    """An index query under `not`, no limit, and a missing list have warnings."""
    (negated,) = warning_lines(tmp_path, "not = { index-query = 'x:1' }")
    assert negated.startswith("3: rule[1]: index-query under `not` selects things")
    (missing,) = warning_lines(tmp_path, "not-in = 's3://b/k'\nany = [\n{ not-in = { file = 'keep.txt' } }]")
    assert missing.startswith(f"6: rule[1].any[1].not-in.file: {tmp_path}/keep.txt not found")
    unbounded = check_policy(write_policy(tmp_path, "[[rule]]\nname = 'x'\n")).warnings
    assert [warning.key for warning in unbounded] == ["guards"]
