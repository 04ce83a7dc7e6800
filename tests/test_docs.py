"""Rule: what the documentation promises is held here against the program: commands, options, the summary's form.

`python -m tests.test_docs` writes docs/cli.md anew.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from asyncgg.cli.app import COMMANDS, build_cli
from asyncgg.models import RunState, Summary
from asyncgg.report.summary import summary_to_dict

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
WIDTH = 100


def command_and_context(name: str) -> tuple[Any, Any]:
    """A command and the context its help is written in."""
    group = build_cli()
    top = typer.Context(group, info_name="asyncgg", terminal_width=WIDTH, max_content_width=WIDTH)
    click_command = group.get_command(top, name)
    return click_command, typer.Context(
        click_command, info_name=name, parent=top, terminal_width=WIDTH, max_content_width=WIDTH
    )


def render_reference() -> str:
    """The text of docs/cli.md: every command's help."""
    parts = ["# Commands and options\n\nWhat `asyncgg COMMAND --help` says, for all commands.\n"]
    for name in COMMANDS:
        click_command, context = command_and_context(name)
        text = "\n".join(line.rstrip() for line in click_command.get_help(context).splitlines())
        parts.append(f"\n## asyncgg {name}\n\n```text\n{text}\n```\n")
    return "".join(parts)


@pytest.mark.parametrize("name", COMMANDS)
def test_reference_is_current(name: str) -> None:
    """docs/cli.md has every command with every option and what it means, in the program's own words."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = text.split(f"## asyncgg {name}\n", 1)[1].split("\n## ", 1)[0]
    section_text = " ".join(section.split())
    click_command, _ = command_and_context(name)
    for parameter in click_command.params:
        for option in parameter.opts if parameter.param_type_name == "option" else []:
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", section), f"{option} is missing"
        if parameter.help:
            assert " ".join(parameter.help.split()) in section_text, f"{parameter.name}: the help is another one"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    """A reader of the README meets every command."""
    assert re.search(rf"asyncgg {name}\b|`{name}`", README)


def test_the_contract_is_there() -> None:
    """The options that tools are written against exist, on every command that starts a run."""
    connection = {"--profile", "--region", "--endpoint-url"}
    limits = {"--rate", "--burst", "--quota-share", "--concurrency", "--per-core", "--max-attempts"}
    run = {"--yes", "--abort-at", "--abort-after", "--deadline", "--json", "--quiet", "--log-format"}
    first = {"--journal", "--dry-run", "--max-things", "--expect-account", "--protect", "--format", "--rejects"}
    report = {"--failures", "--outcomes", "--html"}
    for name, expected in {
        "disassociate": connection | limits | run | first,
        "resume": connection | limits | run,
        "retry": connection | limits | run,
        "report": report,
        "simulator": {"--port", "--rate", "--burst", "--latency-ms", "--fault"},
    }.items():
        click_command, _ = command_and_context(name)
        options = {word for parameter in click_command.params for word in parameter.opts}
        assert expected <= options, f"{name} lacks {expected - options}"


def test_readme_shows_the_summary_as_it_is() -> None:
    """The JSON summary in the README has the keys of the real one (which may have more)."""
    example = json.loads(re.search(r"```json\n(\{\"schema\".*?)\n```", README, re.DOTALL).group(1))  # type: ignore[union-attr]
    real = summary_to_dict(Summary("run", "journal", RunState.COMPLETE, 1, 1, 0, 0))
    assert example["schema"] == real["schema"]
    assert set(example) <= set(real)
    for part in ("things", "requests"):
        assert set(example[part]) <= set(real[part])


def test_ci_finds_the_tests_in_the_readme() -> None:
    """The test command that CI takes out of the README is there, and is one line that runs pytest."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    awk = re.search(r"awk '(.*?)' README.md", script).group(1)  # type: ignore[union-attr]
    result = subprocess.run(["awk", awk, "README.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert len(result.splitlines()) == 1
    assert " -m pytest" in result


def test_python_in_the_readme_compiles() -> None:
    """Each Python example of the README is Python, and names only what the package has."""
    import asyncgg

    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        compile(block, "README.md", "exec")
        for name in re.findall(r"asyncgg\.(\w+)", block):
            assert hasattr(asyncgg, name)


if __name__ == "__main__":
    (ROOT / "docs" / "cli.md").write_text(render_reference(), encoding="utf-8")
