"""Line numbers of TOML keys, compared with the keys of tomllib."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given, reject, settings
from hypothesis import strategies as st

from asyncgg.cleanup.policy.toml_lines import KeyPath, key_lines

TEXT = '''# a comment
top = 1
"quoted key" = "x # no comment"
a.b . c = """
two "quotes" and \\""" [no.table]
"""""
lit = \'\'\'
'x' \'\'\'
when = 2026-01-31 10:00:00 # a blank within

[table]
list = [ # comment ]
  1, "],", [2,
  3],
]
inline = { x = 1, y = [{ z = '}' }], 'q r'.s = "" }
[[rule]]
id = "first"
[[rule.any]]
name = "n"
[rule.any.not]
x = 1
[[rule]]
id = "second"
[[rule.any]]
[[rule.any]]
deep = true'''

EXPECTED: dict[KeyPath, int] = {
    ("top",): 2,
    ("quoted key",): 3,
    ("a", "b", "c"): 4,
    ("lit",): 7,
    ("when",): 9,
    ("table",): 11,
    ("table", "list", 2, 1): 14,
    ("table", "inline", "y", 0, "z"): 16,
    ("table", "inline", "q r", "s"): 16,
    ("rule", 0): 17,
    ("rule", 0, "any", 0, "name"): 20,
    ("rule", 0, "any", 0, "not", "x"): 22,
    ("rule", 1, "id"): 24,
    ("rule", 1, "any", 0): 25,
    ("rule", 1, "any", 1, "deep"): 27,
}


def key_paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The paths of all keys and items of parsed TOML."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from key_paths(inner, (*path, key))


def test_key_lines_of_all_syntax() -> None:
    """Quoted and dotted keys, inline tables, arrays of tables and misleading strings."""
    lines = key_lines(TEXT)
    assert set(lines) == set(key_paths(tomllib.loads(TEXT)))
    assert {path: lines[path] for path in EXPECTED} == EXPECTED
    assert key_lines(TEXT.replace("\n", "\r\n")) == lines


BLANKS = st.sampled_from(["", " ", "\t "])
BREAKS = st.sampled_from(["", " ", "\n", ' # } ] "\n'])
KEYS = st.sampled_from(["a", "b-1", '"c d"', "'e.f'", '"g\\"h"', "7"])
SCALARS = st.sampled_from(
    [
        "1",
        "-2.5e3",
        "true",
        '"x"',
        "'y'",
        '"#"',
        '"\\\\"',
        '"""q"""',
        "'''\n]'''",
        '"""\\\n "" """',
        "07:32:00",
        "1979-05-27",
    ]
)


@st.composite
def toml_values(draw: st.DrawFn, depth: int = 2) -> str:
    """A TOML value."""
    kind = draw(st.sampled_from(["scalar", "array", "table"] if depth else ["scalar"]))
    if kind == "array":
        items = draw(st.lists(toml_values(depth - 1), max_size=3))
        return "[" + draw(BREAKS) + "".join(f"{item}{draw(BREAKS)},{draw(BREAKS)}" for item in items) + "]"
    if kind == "table":
        keys = draw(st.lists(KEYS, max_size=3, unique=True))
        pairs = [f"{draw(BLANKS)}{key}{draw(BLANKS)}={draw(BLANKS)}{draw(toml_values(depth - 1))}" for key in keys]
        return "{" + ",".join(pairs) + draw(BLANKS) + "}"
    return draw(SCALARS)


@st.composite
def toml_texts(draw: st.DrawFn) -> str:
    """A text that is usually valid TOML."""
    text = ""
    for header in draw(st.lists(st.sampled_from(["[t]", "[[u]]", "[u.w]", "[ 'x' . y ]"]), max_size=4)):
        text += f"{header}{draw(st.sampled_from(['', ' # x']))}\n"
        for key in draw(st.lists(KEYS, max_size=2, unique=True)):
            text += f"{draw(BLANKS)}{key} = {draw(toml_values())}\n{draw(st.sampled_from(['', '# [x]', ' ']))}\n"
    return text


@settings(max_examples=80, deadline=None)
@given(toml_texts())
def test_key_lines_has_keys_of_tomllib(text: str) -> None:
    """Every text that tomllib accepts has the same keys."""
    try:
        whole = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        reject()
    assert set(key_lines(text)) == set(key_paths(whole))
