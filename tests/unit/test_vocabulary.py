"""Names, messages, help and documentation use the vocabulary of docs/glossary.md.

`python -m tests.unit.test_vocabulary [PATH ...]` lists every violation with file and line.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

NAME_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        told tell telling untold heed heard reins errand night nights begun anew afresh beside gone odd ledger books
        agenda sureness doubt doubts dice whereabouts nowhere nobody somebody strangers swept settle settlement glance
        glances wreck outspoken complain tolerant patient impatient fate strike strikes sight sought heeding grave
        quiet_end twin rivals furnish holy house apart turns lone alone said says whom alike vain worth
        """,
    )
)
"""Words no name may contain; a name's words are its parts between underscores and capitals."""

EXACT_NAMES = frozenset(
    {"left", "over", "so", "words", "room", "what", "ask", "asked", "asking", "found", "piece", "place"}
)
"""Words that are no complete public name of a class, function, method or attribute."""

PHRASES = re.compile(
    r"""
    \b(?:told|untold|tells?\b(?!-)|said|heeds?|heeded|begun|anew|afresh|swept|gone\ on\ with|goes\ on\ with
    |errands?|reins|(?<!every\ )nights?\b(?!ly)|(?-i:[Bb]eside)\b(?!s)|whereabouts|nowhere|nobody|somebody|whoever
    |whatever\ else|so\ put|is\ sound|the\ dice
    |odd\ names?|in\ vain|hence|thereby|therein|whereof|lest|amidst?|in\ the\ midst|by\ hand\ or
    |come\ what\ may|ours\b|at\ fault|a\ fault\ of|(?-i:(?:is|are)\ none\b)|that\ are\ no\b
    |is\ no\ (?:thing|name|core|journal|policy|number|TOML|UTF)
    |holds?\ against|taken\ for|let\ go|give\ up\ on|gave\ up|given\ up|gives\ up|worth\ telling|some\ way|the\ looking
    |looks?\ there|without\ a\ word|by\ far|for\ good|it\ is\ over|are\ over|sureness|afraid|strangers)\b
    |^\s*Rule:
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
"""What no message, help text, docstring, comment or page of the documentation may say."""

SWEEP = re.compile(r"\bsweeps?\b|\bsweeping\b", re.IGNORECASE)
"""A listing of the fleet is a scan; only the parameter sweep of `tune` has this word."""
SWEEP_FILES = re.compile(
    r"tuning/|commands/tune|tune_|docs/.*tun|README|CHANGELOG|glossary|reference|test_vocabulary"
    r"|settings_file|performance"
)


def words_of(name: str) -> list[str]:
    """The words of an identifier, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def names_in(tree: ast.Module) -> Iterator[tuple[str, int, bool]]:
    """Each name a module defines, its line, and whether it is a class, function or attribute rather than a local."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, True
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno, False
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno, False
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno, True


def name_violations(path: Path) -> Iterator[str]:
    """Each name of a Python file with a private word."""
    relative = path.relative_to(ROOT).as_posix()
    for word in words_of(path.stem):
        if word in NAME_WORDS:
            yield f"{relative}: file name: {word}"
    for name, line, member in names_in(ast.parse(path.read_text(encoding="utf-8"))):
        parts = words_of(name)
        private = NAME_WORDS.intersection(parts)
        if private or (member and name.strip("_") in EXACT_NAMES):
            yield f"{relative}:{line}: name {name}"
        elif "sweep" in parts and not SWEEP_FILES.search(relative):
            yield f"{relative}:{line}: name {name} (scan)"


def text_violations(path: Path) -> Iterator[str]:
    """Each private phrase of a file: for Python its strings and comments, for others every line."""
    relative = path.relative_to(ROOT).as_posix()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if relative == "CHANGELOG.md" and line.lstrip().startswith("| "):
            continue  # a table that maps old names to new ones
        found = PHRASES.search(line) or (None if SWEEP_FILES.search(relative) else SWEEP.search(line))
        if found:
            yield f"{relative}:{number}: text {found.group().strip()!r}: {line.strip()[:100]}"


def python_files(*folders: str) -> list[Path]:
    """The Python files below the folders, but for this one, which names the words."""
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")) if path != Path(__file__)]


def text_files() -> list[Path]:
    """What people read: documentation, examples, the product's and the tests' sources."""
    documents = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
    documents += sorted((ROOT / "docs").rglob("*.md")) + sorted((ROOT / "examples").rglob("*.toml"))
    return [path for path in documents if path.exists()] + python_files("asyncgg", "benchmarks", "tests")


def test_names_have_no_private_words() -> None:
    """Every name of the product and of the benchmarks is standard vocabulary."""
    assert [found for path in python_files("asyncgg", "benchmarks") for found in name_violations(path)] == []


def test_texts_have_no_private_words() -> None:
    """Messages, help, docstrings, comments and documentation are plain technical English."""
    assert [found for path in text_files() for found in text_violations(path)] == []


def test_class_names_are_unique() -> None:
    """No two classes of the product have one name."""
    names = Counter(
        node.name
        for path in python_files("asyncgg")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize(("text", "found"), [("It was told anew.", True), ("The service returned 3 entries.", False)])
def test_the_check_finds_a_private_phrase(text: str, found: bool) -> None:
    """The phrases match where they stand, and plain text passes."""
    assert bool(PHRASES.search(text)) is found


def main(arguments: list[str]) -> None:
    """Print the violations of the given paths, or of all files."""
    given = [Path(argument).resolve() for argument in arguments]
    paths = [file for path in given for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))]
    for path in paths or text_files():
        for line in [*(name_violations(path) if path.suffix == ".py" else ()), *text_violations(path)]:
            print(line)  # noqa: T201 - a command


if __name__ == "__main__":
    main(sys.argv[1:])
