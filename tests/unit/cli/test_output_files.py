"""Tests of `asyncgg.cli.output_files`, with the parameters of every command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from asyncgg.cli import main
from asyncgg.cli.app import root_command
from asyncgg.cli.output_files import INPUTS, JOURNALS, OUTPUTS, require_distinct_files
from asyncgg.errors import UsageError

FILES = {"FILE", "PATH", "SNAPSHOT", "JOURNAL", "MANIFEST", "POLICY", "OLD", "NEW"}


def commands(group: click.Group) -> Iterator[click.Command]:
    """Every command, also those of groups."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command)
        else:
            yield command


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_file_of_every_command_is_an_input_or_an_output() -> None:
    """A new option with a file must be listed."""
    names = {
        parameter.name
        for command in commands(root_command)
        for parameter in command.params
        if FILES & set(re.findall("[A-Z]+", parameter.metavar or ""))
    }
    assert names - {*INPUTS, *OUTPUTS, *JOURNALS} == set()


def test_output_with_the_path_of_another_file_raises() -> None:
    """Whichever they are, in each spelling of the path."""
    for name in OUTPUTS:
        for other in {*OUTPUTS, *JOURNALS, *INPUTS} - {name, *(["config"] if name == "write" else [])}:
            with pytest.raises(UsageError, match=r"name the same file|would overwrite the journal"):
                require_distinct_files({name: Path("x"), other: "./x"})


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"journal": "x"}, ["--log-file", "x"]),
        ({"log_file": "x"}, ["--journal", "x"]),
        ({"log_file": "x", "log_requests": "x"}, []),
        ({"journal": "x.prom", "metrics_file": "x.prom"}, []),
        ({"protect": "x", "journal": "x"}, []),
        ({"config": "x"}, ["--rejects", "x"]),
        ({"journal": "x"}, ["--inventory", "x", "--core", "c"]),
    ],
)
def test_paths_of_the_environment_and_of_a_file_are_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variables: dict[str, str], words: list[str]
) -> None:
    """Wherever the two paths come from, nothing is written."""
    manifest = [] if "--core" in words else ["fleet.csv"]
    Path("fleet.csv").write_text("core,thing\na,b\n")
    Path(variables.get("config", "asyncgg.toml")).write_text("")
    with monkeypatch.context() as environment:
        for name, path in variables.items():
            environment.setenv(f"ASYNCGG_{name.upper()}", path)
        assert main(["disassociate", *manifest, *words, "--yes"]) == 2
        assert "choose another" in capsys.readouterr().err
    Path("asyncgg.toml").write_text("".join(f"{name} = '{path}'\n" for name, path in variables.items()))
    if "config" not in variables:
        assert main(["disassociate", *manifest, *words, "--yes"]) == 2
        assert "choose another" in capsys.readouterr().err
    assert {path.name for path in Path().iterdir()} <= {"fleet.csv", "asyncgg.toml", variables.get("config", "")}


@pytest.mark.parametrize(
    "words", ["plan fleet.csv --rejects", "tune --out", "report run.journal --html", "diff a.db b.db --out"]
)
def test_settings_file_is_not_overwritten(capsys: pytest.CaptureFixture[str], words: str) -> None:
    """Also the one that is read without an option, by another command."""
    Path("asyncgg.toml").write_text("rate = 10\n")
    Path("fleet.csv").write_text("core,thing\na,b\n")
    assert main([*words.split(), "asyncgg.toml"]) == 2
    assert "and --config name the same file" in capsys.readouterr().err
    assert Path("asyncgg.toml").read_text() == "rate = 10\n"


def test_links_and_companions_are_the_same_file() -> None:
    """A log next to the journal must not be its WAL."""
    Path("run.journal").touch()
    Path("link").hardlink_to("run.journal")
    for path in ("link", "run.journal-wal", "run.journal.lock"):
        with pytest.raises(UsageError, match="would overwrite the journal"):
            require_distinct_files({"log_requests": path, "journal": Path("run.journal")})
    Path("list.csv").touch()
    Path("link.csv").symlink_to("list.csv")
    for path in ("link.csv", "./list.csv"):
        with pytest.raises(UsageError, match="--rejects and --manifest name the same file"):
            require_distinct_files({"rejects": path, "manifest": "list.csv"})


def test_files_that_can_be_shared_are_accepted() -> None:
    """Devices, standard input, objects in S3, folders, and a list that is read twice."""
    shared = {"failures": "/dev/null", "outcomes": "/dev/null", "manifest": "-", "things": "-"}
    require_distinct_files({**shared, "cores": "s3://a/b", "protect": "s3://a/b", "out": ".", "journal": "."})
    require_distinct_files({"write": "asyncgg.toml", "config": Path("asyncgg.toml")})
    require_distinct_files({"things": "names.txt", "protect": "names.txt"})
