"""The import order of the modules, the purity of the core, and the form of module docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "asyncgg"
FILES = sorted(PACKAGE.rglob("*.py"))

ORDER: list[set[str]] = [
    {"errors", "models"},
    {"file_limit", "files", "formatting", "name_columns", "permissions", "sharing", "storage"},
    {"events", "run_directory", "tables"},
    {"batching", "classify", "retry_policy"},
    {"aggregator"},
    {"ratelimit", "journal", "transport"},
    {"engine", "aws_calls"},
    {"manifest", "settings"},
    {"inventory"},
    {"report", "notify", "telemetry"},
    {"state"},
    {"runs"},
    {"cleanup", "tuning"},
    {"decommission"},
    {"doctor"},
    {"fleet"},
    {"cli"},
]
"""A component imports only from earlier sets."""

INDEPENDENT = {"service_limiters", "simulator", "testing"}
"""They import only errors, models and service_limiters, to be independent of the code under test."""

PURE = {"errors", "models", "events", "batching", "classify", "retry_policy", "aggregator"}
IMPURE = {"asyncio", "datetime", "os", "random", "socket", "sqlite3", "threading", "time", "aiohttp", "aiobotocore"}

EXEMPT = {"__init__", "__main__"}
"""`asyncgg` exports names of all components; `python -m asyncgg` is the command line."""

WITH_EXAMPLE = {"asyncgg/inventory/__init__.py", "asyncgg/runs/run.py"}
"""Modules whose docstring also shows their use in the API reference."""


def component_of(path: Path) -> str:
    """The component that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported_modules(path: Path) -> Iterator[tuple[str, int]]:
    """Each module that a file imports, with its line; `from asyncgg import y` counts as
    asyncgg.y."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            module = node.module or ""
            for alias in node.names:
                yield (f"asyncgg.{alias.name}" if module == "asyncgg" else module), node.lineno


def imported_components(path: Path) -> Iterator[tuple[str, int]]:
    """Each component that a file imports, with its line."""
    for module, line in imported_modules(path):
        names = module.split(".")
        if names[0] == "asyncgg":
            yield (names[1] if len(names) > 1 else "__init__"), line


def allowed_components(component: str) -> set[str]:
    """The components that `component` may import."""
    if component in INDEPENDENT:
        extra = {"ratelimit"} if component == "testing" else set()  # `FixedRate` is a rate policy
        return {"errors", "models", "service_limiters", component} | extra
    for number, tier in enumerate(ORDER):
        if component in tier:
            extra = {"testing"} if component == "tuning" else set()  # simulates trials in virtual time
            return {component}.union(extra, *ORDER[:number])
    raise AssertionError(f"{component} is not in ORDER: add it there and in docs/explanation/design.md")


def display_path(path: Path) -> str:
    """The path from the repository root."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [path for path in FILES if component_of(path) not in EXEMPT], ids=display_path)
def test_imports_follow_the_order(path: Path) -> None:
    """A file imports only components that precede its own."""
    component = component_of(path)
    allowed = allowed_components(component) | {"__version__"}  # a constant, for --version and the user agent
    if component == "cli":
        allowed |= INDEPENDENT  # the commands `simulator` and `demo`
    wrong = [
        f"{display_path(path)}:{line} imports {found}"
        for found, line in imported_components(path)
        if found not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("component", sorted(PURE))
def test_pure_component_has_no_side_effects(component: str) -> None:
    """A pure component has no await and imports no clock, environment or random numbers."""
    path = PACKAGE / f"{component}.py"
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert [node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, waiting)] == []
    assert {module.split(".")[0] for module, _ in imported_modules(path)} & IMPURE == set()


@pytest.mark.parametrize("path", FILES, ids=display_path)
def test_module_docstring_is_one_sentence(path: Path) -> None:
    """Each module docstring is one sentence; some have an example below it."""
    docstring = ast.get_docstring(tree_of(path)) or ""
    sentence, _, rest = docstring.partition("\n\n")
    assert sentence.endswith(".")
    assert not sentence.startswith("Rule:")
    assert not rest or display_path(path) in WITH_EXAMPLE


def test_order_names_every_component_once() -> None:
    """The order names the components that exist, each once."""
    components = [component for tier in ORDER for component in tier] + sorted(INDEPENDENT)
    assert len(set(components)) == len(components)
    assert set(components) | EXEMPT == {component_of(path) for path in FILES}


def test_imported_components_finds_every_kind_of_import(tmp_path: Path) -> None:
    """Imports in functions, under conditions and in each spelling are found."""
    path = tmp_path / "x.py"
    path.write_text(
        "import asyncgg.engine.engine\nfrom asyncgg import cli\n"
        "if True:\n    from asyncgg.journal.store import JournalStore\n"
        "def f():\n    import os, asyncgg.report as r\n"
    )
    assert [found for found, _ in imported_components(path)] == ["engine", "cli", "journal", "report"]


MESSAGE_TEXT = re.compile(
    r"\bin str\((?:error|failure|exception)\b"
    r"|str\((?:error|failure)\)\.(?:replace|remove\w+|startswith|endswith)"
)


def test_no_code_uses_wait_for() -> None:
    """Before Python 3.12 `asyncio.wait_for` ignores a cancellation that arrives together with the
    result; the task then goes on, and who waits for its end hangs. `asyncio.timeout` does not."""
    assert [str(path) for path in FILES if "asyncio.wait_for(" in path.read_text(encoding="utf-8")] == []


def test_no_code_branches_on_the_text_of_an_error() -> None:
    """Attributes and exception types decide; a message can be reworded without an effect."""
    assert [str(path) for path in FILES if MESSAGE_TEXT.search(path.read_text(encoding="utf-8"))] == []
