"""Tests of the documentation against the program: commands, options, keys, examples and links."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import operator
import re
import subprocess
import sys
from contextlib import closing
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import asyncgg
from asyncgg.cleanup.policy.model import IotLimits, NotifyConfig, RampConfig, SafetyLimits, Sources, StateConfig
from asyncgg.cleanup.policy.parser import CONDITION_PARSERS
from asyncgg.cli.app import COMMANDS
from asyncgg.inventory import schema as snapshot_schema
from asyncgg.journal import schema as journal_schema
from asyncgg.models import RunState, Summary
from asyncgg.report.summary import EXIT_CODES, summary_to_dict
from tests.unit.test_imports import INDEPENDENT, ORDER

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("**/*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]
FOREIGN_OPTIONS = {"--editable", "--group", "--user", "--numprocesses", "--dist", "--quick"}
"""Options of other programs that the pages mention."""


def page_name(path: Path) -> str:
    """The path from the repository's root."""
    return path.relative_to(ROOT).as_posix()


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced code blocks of a page in these languages."""
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@cache
def generator() -> ModuleType:
    """The script docs/generate_reference.py as a module."""
    spec = importlib.util.spec_from_file_location("generate_reference", DOCS / "generate_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


@cache
def options(command: str) -> frozenset[str]:
    """The options that the help of a command names."""
    entries = re.findall(r"^ +(-.*?)(?:  |$)", generator().help_of(*command.split()), re.MULTILINE)
    return frozenset(flag for entry in entries for flag in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", entry))


def shown_commands(text: str) -> list[str]:
    """The lines of a page's blocks that call asyncgg, with continued lines joined."""
    lines = "".join(blocks(text, "console", "sh", "text")).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?asyncgg [a-z]", line)]


@pytest.mark.parametrize("name", ["cli.md", "settings.md"])
def test_generated_page_is_current(name: str) -> None:
    """The committed page is what the generator writes now."""
    committed = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert committed == generator().PAGES[name](), "run: python docs/generate_reference.py"


def test_cli_page_has_every_command_and_option() -> None:
    """Each option of each command is in its section or in a shared group, and a shared option is there once."""
    page = generator().cli_page()
    shared, *sections = page.split("\n## asyncgg ")
    names = generator().command_names()
    assert [section.split("\n", 1)[0] for section in sections] == names
    for name, section in zip(names, sections, strict=True):
        for flag in options(name) - {"-h", "--help"}:
            assert re.search(rf"`(-\w, )?{flag}\b", section + shared), f"{name} {flag}"
    rows = re.findall(r"^\| `(.*?)` \|.*", page, re.MULTILINE)
    assert len(rows) < sum(len(options(name)) for name in names)


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_shown_commands_have_options_that_exist(path: Path) -> None:
    """Every command line in a block names a command and options that the program has."""
    names = generator().command_names()
    for line in shown_commands(path.read_text(encoding="utf-8")):
        command, *words = line.removeprefix("asyncgg ").split()
        if command == "COMMAND":
            continue
        command = next((name for word in words[:1] if (name := f"{command} {word}") in names), command)
        assert command in names, line
        own = [word.split("=")[0] for word in words if word.startswith("--")]
        assert set(own) <= options(command), f"{line}: {set(own) - options(command)}"


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_mentioned_options_exist(path: Path) -> None:
    """Every option in running text is one of some command."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", " ".join(re.findall(r"`([^`\n]+)`", text))))
    if path.name == "changelog.md":
        return
    known = {flag for name in generator().command_names() for flag in options(name)} | options("")
    assert mentioned - FOREIGN_OPTIONS <= known


@pytest.mark.parametrize("path", [*PAGES, ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"], ids=page_name)
def test_relative_links_lead_to_files(path: Path) -> None:
    """Every link and picture that is no web address leads to a file of the repository."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


def test_readme_names_every_command_and_is_short() -> None:
    """A reader of the README meets every command within 140 lines."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert re.search(rf"asyncgg {name}\b|`{name}`", readme), name
    assert len(readme.splitlines()) <= 140


def test_contract_options_exist() -> None:
    """The options that tools are written against exist, on every command that starts a run."""
    connection = {"--profile", "--region", "--endpoint-url"}
    limits = {"--rate", "--burst", "--quota-share", "--concurrency", "--per-core", "--max-attempts", "--stall-timeout"}
    run = {"--yes", "--abort-at", "--abort-after", "--deadline", "--json", "--quiet", "--log-format"}
    first = {"--journal", "--dry-run", "--max-things", "--expect-account", "--protect", "--format", "--rejects"}
    for name, expected in {
        "disassociate": connection | limits | run | first,
        "resume": connection | limits | run,
        "retry": connection | limits | run,
        "report": {"--failures", "--outcomes", "--html"},
        "simulator": {"--port", "--rate", "--burst", "--latency-ms", "--fault"},
    }.items():
        assert expected <= options(name), name


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_shown_summaries_have_real_keys(path: Path) -> None:
    """A JSON summary in a page has keys of the real one, which may have more."""
    real = summary_to_dict(Summary("run", "journal", RunState.COMPLETE, 1, 1, 0, 0), exit_code=0)
    for block in blocks(path.read_text(encoding="utf-8"), "json"):
        shown = json.loads(block)
        if shown.get("schema") != real["schema"]:
            continue
        assert set(shown) <= set(real)
        for part in ("things", "requests"):
            assert set(shown[part]) <= set(real[part])


def test_exit_codes_page_has_every_code() -> None:
    """The table lists the codes of all states and errors, and no other."""
    page = (DOCS / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    errors = [value for value in vars(asyncgg.errors).values() if isinstance(value, type)]
    assert listed == set(EXIT_CODES.values()) | {error.exit_code for error in errors if hasattr(error, "exit_code")}


def test_module_table_follows_the_import_order() -> None:
    """The table of the design page names every module, each below those that it may import."""
    page = (DOCS / "explanation" / "design.md").read_text(encoding="utf-8")
    table = page.split("<!-- modules -->", 1)[1].split("\n\n", 1)[0]
    rows = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.splitlines() if row.startswith("| `")]
    tier = {part: number for number, parts in enumerate([*ORDER, INDEPENDENT]) for part in parts}
    assert {name for row in rows for name in row} == set(tier)
    numbers = [tier[name] for row in rows for name in row]
    assert numbers == sorted(numbers)


def test_queries_of_the_journal_page_run(tmp_path: Path) -> None:
    """Each SQL example runs on an empty journal or snapshot."""
    page = (DOCS / "reference" / "journal.md").read_text(encoding="utf-8")
    of_journal, of_snapshot = page.split("## The snapshot")
    for schema, text in ((journal_schema, of_journal), (snapshot_schema, of_snapshot)):
        with closing(schema.create(tmp_path / f"{schema.__name__}.db")) as connection:
            queries = blocks(text, "sql")
            assert queries
            for query in queries:
                connection.execute(query).fetchall()


def first_cells(text: str) -> list[str]:
    """The code in the first cell of each row of a Markdown table."""
    rows = [row.split("|")[1] for row in text.splitlines() if row.startswith("| `")]
    return [name for cell in rows for name in re.findall(r"`([^`]+)`", cell)]


def test_journal_page_names_the_tables_and_columns(tmp_path: Path) -> None:
    """The page lists every table and view of a journal and of a snapshot, and the columns of the important ones."""
    page = (DOCS / "reference" / "journal.md").read_text(encoding="utf-8")
    of_journal, of_snapshot = page.split("## The snapshot")
    for schema, text in ((journal_schema, of_journal), (snapshot_schema, of_snapshot)):
        tables, *details = re.split(r"^### Columns of |^## Lists", text, flags=re.MULTILINE)
        with closing(schema.create(tmp_path / f"{schema.__name__}.db")) as connection:
            names = connection.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')").fetchall()
            assert set(first_cells(tables)) == {name for (name,) in names}
            for detail in details if schema is journal_schema else []:
                table = detail.split("`")[1]
                columns = connection.execute(f"SELECT name FROM pragma_table_info('{table}')").fetchall()
                described = first_cells(detail.split("### Example", 1)[0])
                assert set(described) | {"id"} == {name for (name,) in columns}, table


def test_policy_page_has_every_key() -> None:
    """Each condition and each key of a policy is on the page, and no other."""
    page = (DOCS / "reference" / "policy.md").read_text(encoding="utf-8")
    rules, *tables = re.split(r"^## `\[(?:\w+)\]`\n", page, flags=re.MULTILINE)
    assert set(re.findall(r"^\| `(\S+) = ", rules, re.MULTILINE)) == set(CONDITION_PARSERS)
    for text, model in zip(tables, (Sources, SafetyLimits, StateConfig, NotifyConfig, IotLimits), strict=True):
        keys = {name.replace("_", "-") for name in model.__annotations__}
        if model is SafetyLimits:
            keys = keys - {"ramp"} | {name.replace("_", "-") for name in RampConfig.__dataclass_fields__}
        assert set(first_cells(text)) == keys, model.__name__


def test_json_page_names_keys_of_the_program() -> None:
    """Every key and event on the page is a word of the program's source."""
    page = (DOCS / "reference" / "json.md").read_text(encoding="utf-8")
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "asyncgg").rglob("*.py"))
    for name in first_cells(page):
        for word in name.split("."):
            assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", source), name


def test_ci_takes_the_test_command_from_the_readme() -> None:
    """The command that CI takes out of the README is one line that runs pytest."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    awk = re.search(r"awk '(.*?)' README.md", script)
    assert awk is not None
    found = subprocess.run(["awk", awk[1], "README.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert len(found.splitlines()) == 1
    assert " -m pytest" in found


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_python_examples_name_existing_things(path: Path) -> None:
    """Each Python example compiles, and what it takes from asyncgg is there and takes these arguments."""
    for block in blocks(path.read_text(encoding="utf-8"), "python"):
        tree = ast.parse(block, str(path))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("asyncgg"):
                module: Any = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "asyncgg":
                assert hasattr(asyncgg, node.attr), node.attr
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("asyncgg."):
                function: Any = operator.attrgetter(ast.unparse(node.func).removeprefix("asyncgg."))(asyncgg)
                keywords = {keyword.arg: None for keyword in node.keywords if keyword.arg}
                inspect.signature(function).bind(*node.args, **keywords)


def test_api_page_documents_every_public_name() -> None:
    """Each name of `asyncgg.__all__` is on the page of the Python API."""
    page = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    for name in asyncgg.__all__:
        assert re.search(rf"\b{name}\b", page), name
