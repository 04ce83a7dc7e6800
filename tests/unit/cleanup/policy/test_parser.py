"""Errors in the rules of a policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cleanup_rules import LIMIT, error_lines


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("thing-missing = false", "thing-missing: must be true; for things that exist, write not = { thing-missing"),
        ("thing-group = 'a b'", "thing-group: invalid thing group name 'a b': "),
        ("thing-group = 1", "thing-group: 1 must be the name of a thing group, in quotes"),
        ("thing-group = { name = 'g', recursiv = true }", "thing-group.recursiv: unknown key; did you mean"),
        ("thing-group = { name = 'g', recursive = 1 }", "thing-group.recursive: 1 must be true or false"),
        ("thing-type = ''", "thing-type: invalid thing type name '': "),
        ("thing-attribute = 'x'", "thing-attribute: must be a table of equals, exists, glob, name"),
        ("thing-attribute = { equals = 'x' }", "thing-attribute: name is missing"),
        ("thing-attribute = { name = 'x' }", "thing-attribute: must have exactly one of equals, glob, exists"),
        ("thing-attribute = { name = 'x', equals = 1 }", "thing-attribute.equals: 1 must be text, in quotes"),
        ("thing-attribute = { name = 'x', exists = 'no' }", "thing-attribute.exists: 'no' must be true or false"),
        (
            "thing-attribute = { name = 'x y', exists = true }",
            "thing-attribute.name: 'x y' must be the name of an attribute",
        ),
        ("name = '*'", "name: '*' would select everything"),
        ("name = { regex = '.*' }", "name.regex: '.*' would select everything"),
        ("name = { regex = '(' }", "name.regex: '(' must be a regular expression: missing )"),
        ("name = { regex = 'a', glob = 'b' }", "name: must have exactly one of glob, regex"),
        ("name = 'a b'", "name: 'a b' cannot match a name"),
        ("name = ['a']", "name: ['a'] must be text, in quotes"),
        ("associated-before = '0d'", "associated-before: '0d' "),
        ("associated-before = 10:00:00", "associated-before: datetime.time(10, 0) "),
        ("core-status = 'healthy'", "core-status: 'healthy' must be one of: HEALTHY, UNHEALTHY"),
        ("core-status = ['HEALTHY']", "core-status: ['HEALTHY'] must be one of: HEALTHY, UNHEALTHY"),
        ("core-offline-for = true", "core-offline-for: True "),
        ("index-query = ' '", "index-query: ' ' must be a fleet indexing query, in quotes"),
        ("index-query = '*'", "index-query: '*' would select everything"),
        ("not-in = 's3://bucket'", "not-in: 's3://bucket' must name an object: write s3://bucket/key"),
        ("not-in = { file = '', allow-empty = 1 }", "not-in.allow-empty: 1 must be true or false"),
        ("all = { name = 'x' }", "all: must be a list of tables"),
        ("all = ['x']", "all[1]: must be a table of conditions"),
        (
            "any = [{ all = [{ not = { nam = 'x' } }] }]",
            "any[1].all[1].not.nam: unknown key; did you mean name?",
        ),
        ("id = ''\nname = 'x'", "id: '' must be 1 to 64 of"),
        ("", "rule[1]: has no condition and would select everything"),
    ],
)
def test_parse_rules_invalid_has_one_error(tmp_path: Path, rule: str, message: str) -> None:
    """Each kind of invalid rule has one error with its key."""
    (line,) = error_lines(tmp_path, f"{LIMIT}[[rule]]\n{rule}\n")
    assert message in line
