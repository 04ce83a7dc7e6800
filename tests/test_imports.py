"""Rule: the one-way order of the modules, read from their imports; and that each file says first what it is for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "asyncgg"
FILES = sorted(PACKAGE.rglob("*.py"))

ORDER: list[set[str]] = [
    {"errors", "models"},
    {"files", "formatting", "storage"},
    {"events"},
    {"batching", "classify", "retry_policy"},
    {"aggregator"},
    {"ratelimit", "journal", "transport"},
    {"engine"},
    {"manifest", "settings"},
    {"inventory"},
    {"report", "notify"},
    {"runs"},
    {"cleanup", "tuning"},
    {"cli"},
]
"""A part imports from the sets above its own only."""

INDEPENDENT = {"simulator", "testing"}
"""They import errors and model, so that they cannot share the mistakes of what is tested with them."""

PURE = {"errors", "models", "events", "batching", "classify", "retry_policy", "aggregator"}
IMPURE = {"asyncio", "datetime", "os", "random", "socket", "sqlite3", "threading", "time", "aiohttp", "aiobotocore"}

EXEMPT = {"__init__", "__main__"}
"""The package's face names everything; `python -m asyncgg` is the command line."""


def component_of(path: Path) -> str:
    """The part of the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported_modules(path: Path) -> Iterator[tuple[str, int]]:
    """Each module a file imports, anywhere in it, with the line; `from x import y` counts as x.y when that is one."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            module = node.module or ""
            for alias in node.names:
                yield (f"asyncgg.{alias.name}" if module == "asyncgg" else module), node.lineno


def imported_components(path: Path) -> Iterator[tuple[str, int]]:
    """Each part of the package that a file imports, with the line."""
    for module, line in imported_modules(path):
        names = module.split(".")
        if names[0] == "asyncgg":
            yield (names[1] if len(names) > 1 else "__init__"), line


def allowed_components(part: str) -> set[str]:
    """The parts that `part` may import."""
    if part in INDEPENDENT:
        return {"errors", "models", part}
    for number, tier in enumerate(ORDER):
        if part in tier:
            extra = {"testing"} if part == "tuning" else set()  # it tries settings out in virtual time
            return {part}.union(extra, *ORDER[:number])
    raise AssertionError(f"{part} has no place in the order: give it one, in docs/design.md too")


def display_path(path: Path) -> str:
    """How a file is shown."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [path for path in FILES if component_of(path) not in EXEMPT], ids=display_path)
def test_imports_go_one_way(path: Path) -> None:
    """A file imports nothing of the package but what stands before its own part in the order."""
    part = component_of(path)
    allowance = allowed_components(part) | {"__version__"}  # a constant, for --version and the user agent
    if part == "cli":
        allowance |= INDEPENDENT  # `simulator` and `demo` start it
    wrong = [
        f"{display_path(path)}:{line} imports {found}"
        for found, line in imported_components(path)
        if found not in allowance
    ]
    assert wrong == []


@pytest.mark.parametrize("part", sorted(PURE))
def test_the_pure_tier_waits_for_nothing(part: str) -> None:
    """A decision is a function of values: no await, no clock, no environment, no chance of its own."""
    path = PACKAGE / f"{part}.py"
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert [node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, waiting)] == []
    assert {module.split(".")[0] for module, _ in imported_modules(path)} & IMPURE == set()


def test_the_order_has_no_strangers() -> None:
    """Every part named in the order exists, and no part is named twice."""
    parts = [part for tier in ORDER for part in tier] + sorted(INDEPENDENT)
    assert len(set(parts)) == len(parts)
    assert set(parts) | EXEMPT == {component_of(path) for path in FILES}


def test_the_check_sees_every_kind_of_import(tmp_path: Path) -> None:
    """Imports inside functions, under a condition and in each spelling are found."""
    path = tmp_path / "x.py"
    path.write_text(
        "import asyncgg.engine.engine\nfrom asyncgg import cli\nif True:\n    from asyncgg.journal.store import JournalStore\n"
        "def f():\n    import os, asyncgg.report as r\n"
    )
    assert [found for found, _ in imported_components(path)] == ["engine", "cli", "journal", "report"]
