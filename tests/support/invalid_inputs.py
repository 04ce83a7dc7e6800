"""The invalid inputs of commands, with their expected messages and exit codes."""

from __future__ import annotations

import fcntl
import gzip
import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asyncgg.journal import Importer
from asyncgg.journal import schema as journal_schema

VALID_MANIFEST = b"core,thing\ncore-1,thing-1\ncore-1,thing-2\n"
RUN_COMMAND = ("disassociate", "fleet.csv", "--yes", "--json", "--journal", "run.journal")
ENDPOINT_OPTIONS = ("--endpoint-url", "{url}")


@dataclass(frozen=True)
class InvalidInput:
    """A command with one invalid input. `{url}` in an argument is an endpoint that must receive no request."""

    name: str
    message_pattern: str
    """Regular expression that the message must match."""
    arguments: tuple[str, ...] = RUN_COMMAND
    files: Mapping[str, bytes] = field(default_factory=dict)
    setup: Callable[[Path], Any] = lambda folder: None
    """Prepares the folder; its result is kept alive until the program ends."""
    exit_code: int = 2
    env: Mapping[str, str | None] = field(default_factory=dict)
    """Additional environment variables; None removes a variable."""
    stdin: bytes = b""
    max_lines: int = 2
    """Maximum number of lines of the message."""
    allowed_files: tuple[str, ...] = ()
    """Files that the command may create."""
    uses_endpoint: bool = True


def _manifest_case(
    name: str, message_pattern: str, content: bytes, file: str = "fleet.csv", *extra_arguments: str, **options: Any
) -> InvalidInput:
    arguments = ("disassociate", file, "--yes", "--json", "--journal", "run.journal", *extra_arguments)
    return InvalidInput(name, message_pattern, arguments, {file: content}, **options)


def _row_case(name: str, message_pattern: str, *rows: bytes) -> InvalidInput:
    content = b"core,thing\n" + b"".join(row + b"\n" for row in rows)
    return _manifest_case(
        f"row {name}", rf"1 bad row, nothing was sent.*--skip-bad-rows\nfleet.csv:2: {message_pattern}", content
    )


def _option_case(*extra_arguments: str, message_pattern: str = "", **options: Any) -> InvalidInput:
    return InvalidInput(
        f"option {' '.join(extra_arguments)}",
        message_pattern or extra_arguments[0],
        (*RUN_COMMAND, *extra_arguments),
        {"fleet.csv": VALID_MANIFEST},
        **options,
    )


def _variable_case(name: str, value: str, message_pattern: str = "") -> InvalidInput:
    return InvalidInput(
        f"{name}={value}", message_pattern or name, files={"fleet.csv": VALID_MANIFEST}, env={name: value}
    )


def _toml_case(name: str, text: str, message_pattern: str) -> InvalidInput:
    return InvalidInput(
        f"toml {name}", message_pattern, files={"fleet.csv": VALID_MANIFEST, "asyncgg.toml": text.encode()}
    )


def _journal_case(
    name: str, message_pattern: str, setup: Callable[[Path], Any], *command: str, **options: Any
) -> InvalidInput:
    return InvalidInput(
        f"journal {name}",
        message_pattern,
        command or ("resume", "run.journal", "--yes", "--json"),
        setup=setup,
        **options,
    )


def create_journal(folder: Path) -> Path:
    """Create a planned journal."""
    path = folder / "run.journal"
    importer = Importer(path)
    importer.add([("core-1", "thing-1"), ("core-1", "thing-2")])
    importer.finish({"run": "test", "state": "planned", "settings": "{}"})
    return path


def _alter_journal(statement: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        with closing(sqlite3.connect(create_journal(folder), isolation_level=None)) as connection:
            connection.execute(statement)

    return make


def _truncate_journal(folder: Path) -> None:
    path = create_journal(folder)
    os.truncate(path, path.stat().st_size // 2)


def _lock_journal(folder: Path) -> Any:
    create_journal(folder)
    lock = (folder / "run.journal.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _create_unfinished_journal(folder: Path) -> None:
    journal_schema.create(folder / "run.journal").close()


def _create_other_database(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "run.journal")) as connection:
        connection.execute("CREATE TABLE other (id)")


def _create_read_only_folder(folder: Path) -> None:
    (folder / "sealed").mkdir()
    create_journal(folder / "sealed")
    (folder / "sealed").chmod(0o555)


def _create_unreadable_manifest(folder: Path) -> None:
    (folder / "fleet.csv").write_bytes(VALID_MANIFEST)
    (folder / "fleet.csv").chmod(0)


MANIFESTS = (
    InvalidInput("manifest missing", "fleet.csv: no such file"),
    InvalidInput(
        "manifest a directory", "fleet.csv is a directory", setup=lambda folder: (folder / "fleet.csv").mkdir()
    ),
    InvalidInput("manifest unreadable", "fleet.csv: permission denied", setup=_create_unreadable_manifest),
    _manifest_case("manifest empty", "fleet.csv has no associations", b""),
    _manifest_case("manifest of blank lines", "fleet.csv has no associations", b"\n \n\r\n"),
    _manifest_case("manifest without rows", "fleet.csv has no associations", b"core,thing\n"),
    _manifest_case("manifest without columns", r"fleet.csv:1: the header `a,b` lacks a column", b"a,b\n1,2\n"),
    _manifest_case("manifest with a column twice", "fleet.csv:1: .*twice", b"core,thing,thingName\na,b,c\n"),
    _manifest_case("manifest of unknown ending", r"fleet.txt: unknown format.*--format", VALID_MANIFEST, "fleet.txt"),
    _manifest_case(
        "manifest of unknown format", "unknown manifest format `xml`", VALID_MANIFEST, "fleet.csv", "--format", "xml"
    ),
    _manifest_case("manifest in UTF-16", "fleet.csv is UTF-16", VALID_MANIFEST.decode().encode("utf-16")),
    _manifest_case("manifest in Latin-1", "fleet.csv:1: the header is not UTF-8", b"core,thing,gr\xf6\xdfe\na,b,1\n"),
    _manifest_case("manifest a spreadsheet", "fleet.csv is a ZIP archive or an Excel file", b"PK\x03\x04" + b"x" * 99),
    _manifest_case(
        "manifest a JSON array", "fleet.jsonl is a JSON array", b'[{"core":"a","thing":"b"}]', "fleet.jsonl"
    ),
    _manifest_case("manifest broken Parquet", "fleet.parquet", b"PAR1 and nothing else", "fleet.parquet"),
    _manifest_case(
        "manifest cut gzip",
        "fleet.csv.gz: the gzip data is corrupt",
        gzip.compress(VALID_MANIFEST, mtime=0)[:-9],
        "fleet.csv.gz",
    ),
    _manifest_case("manifest no gzip", "fleet.csv.gz is not gzip", VALID_MANIFEST, "fleet.csv.gz"),
    InvalidInput(
        "manifest wholly protected",
        "no associations to disassociate.*2 protected",
        (*RUN_COMMAND, "--protect", "never.txt"),
        {"fleet.csv": VALID_MANIFEST, "never.txt": b"core-*\n"},
    ),
    InvalidInput("manifest on empty standard input", "<stdin> has no associations", ("disassociate", "-", "--yes")),
    InvalidInput("manifest in no bucket", "s3://bucket/ names no object", ("plan", "s3://bucket/", "--format", "csv")),
    InvalidInput("plan of a missing manifest", "fleet.csv: no such file", ("plan", "fleet.csv", "--json")),
)

ROWS = (
    _row_case("without a column", "column `thing` is missing", b"core-1"),
    _row_case("with an empty name", "thing is empty", b"core-1, "),
    _row_case("over-long", r"thing has 129 characters \(maximum 128\)", b"core-1," + b"x" * 129),
    _row_case("of bad characters", "thing contains characters outside", b"core-1,thing/1"),
    _row_case("not UTF-8", "is not UTF-8", b"core-1,thing-\xff"),
    _row_case("with an open quote", "", b'core-1,"thing'),
    _manifest_case("row broken JSON", r"fleet.jsonl:1: is not JSON", b'{"core": "a"', "fleet.jsonl"),
    _manifest_case("row JSON without a key", r"fleet.jsonl:1: key `thing` is missing", b'{"core": "a"}', "fleet.jsonl"),
    _manifest_case(
        "rows by the dozen",
        r"12 bad rows(.*\n){10}.*:11: .*\n... and 2 more",
        b"core,thing\n" + b"a,\n" * 12,
        max_lines=12,
    ),
    _manifest_case(
        "rows written to a file",
        "1 bad row",
        b"core,thing\na,\na,b\n",
        "fleet.csv",
        "--rejects",
        "bad.csv",
        allowed_files=("bad.csv",),
    ),
    _manifest_case("rows all bad, skipped", "no valid rows", b"core,thing\na,\n", "fleet.csv", "--skip-bad-rows"),
    _manifest_case(
        "rows written over the manifest", "fleet.csv", VALID_MANIFEST, "fleet.csv", "--rejects", "fleet.csv"
    ),
)

OPTIONS = (
    _option_case("--rate", "0"),
    _option_case("--rate", "fast"),
    _option_case("--quota-share", "2"),
    _option_case("--concurrency", "0"),
    _option_case("--deadline", "soon"),
    _option_case("--abort-at", "101"),
    _option_case("--max-things", "-1"),
    _option_case("--expect-account", "me", message_pattern="--expect-account.*12 digits"),
    _option_case("--endpoint-url", "missing", message_pattern="endpoint URL 'missing'", uses_endpoint=False),
    _option_case("--profile", "missing", message_pattern="no AWS profile 'missing'"),
    *(
        _option_case(option, "x" * 300, message_pattern="x: File name too long; check the path")
        for option in ("--journal", "--protect", "--rejects", "--log-file")
    ),
    _option_case("--frobnicate", message_pattern="--frobnicate.*--help"),
    _option_case("--config", "missing.toml", message_pattern="missing.toml: settings file not found"),
    _option_case("--protect", "missing.txt", message_pattern="missing.txt: no such file"),
    _option_case("--max-things", "1", message_pattern="2 things, --max-things allows 1; nothing was sent", exit_code=4),
    InvalidInput("no manifest", "nothing selected: .*--help", ("disassociate",), uses_endpoint=False),
    InvalidInput("unknown command", "frobnicate.*--help", ("frobnicate",), uses_endpoint=False),
    InvalidInput("no command", "Usage", (), uses_endpoint=False, max_lines=60),
    _variable_case("ASYNCGG_RATE", "fast"),
    _variable_case("ASYNCGG_RAET", "3", "ASYNCGG_RAET: unknown setting"),
    _variable_case("ASYNCGG_CODES", "{"),
    _variable_case("ASYNCGG_CONFIG", "missing.toml", "missing.toml: settings file not found"),
    _toml_case("unknown key", "raet = 3", "asyncgg.toml: raet: unknown setting"),
    _toml_case("wrong value", 'rate = "fast"', "asyncgg.toml: rate"),
    _toml_case("broken", "rate = \nburst = 3", "asyncgg.toml: .*line 1"),
    _toml_case("unknown action", '[codes]\nBusy = "shrug"', "asyncgg.toml: codes.Busy: 'shrug'"),
    InvalidInput(
        "no terminal to confirm on",
        "no terminal.*nothing was sent.*--yes",
        ("disassociate", "fleet.csv", "--journal", "run.journal"),
        {"fleet.csv": VALID_MANIFEST},
    ),
    InvalidInput(
        "no credentials",
        "no AWS credentials",
        files={"fleet.csv": VALID_MANIFEST},
        exit_code=5,
        env={"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
        max_lines=9,  # the plan comes first
    ),
    InvalidInput(
        "no Region",
        "[Rr]egion",
        files={"fleet.csv": VALID_MANIFEST},
        env={"AWS_DEFAULT_REGION": None},
        uses_endpoint=False,
    ),
)

JOURNALS = (
    InvalidInput(
        "journal there already",
        "run.journal already exists",
        files={"fleet.csv": VALID_MANIFEST},
        setup=create_journal,
    ),
    InvalidInput(
        "journal in a sealed folder",
        "sealed/new.journal: cannot create",
        ("disassociate", "fleet.csv", "--yes", "--journal", "sealed/new.journal"),
        {"fleet.csv": VALID_MANIFEST},
        _create_read_only_folder,
    ),
    InvalidInput(
        "journal in no folder",
        "missing/new.journal: cannot create",
        ("disassociate", "fleet.csv", "--yes", "--journal", "missing/new.journal"),
        {"fleet.csv": VALID_MANIFEST},
    ),
    *(
        _journal_case(f"missing, {command[0]}", "run.journal: no such file", lambda folder: None, *command)
        for command in (
            ("resume", "run.journal", "--yes"),
            ("retry", "run.journal", "--yes"),
            ("status", "run.journal"),
            ("report", "run.journal", "--json"),
        )
    ),
    *(
        _journal_case(
            f"a pipe, {command[0]}", "is not a regular file", lambda folder: os.mkfifo(folder / "run.journal"), *command
        )
        for command in (("resume", "run.journal", "--yes"), ("status", "run.journal"), ("report", "run.journal"))
    ),
    _journal_case("a directory", "is a directory", lambda folder: (folder / "run.journal").mkdir()),
    _journal_case(
        "a text", "is not an asyncgg journal", lambda folder: (folder / "run.journal").write_bytes(VALID_MANIFEST)
    ),
    _journal_case("another database", "is not an asyncgg journal", _create_other_database),
    _journal_case("newer", "uses format 99.*Upgrade asyncgg", _alter_journal("PRAGMA user_version = 99")),
    _journal_case("cut off", "is corrupt", _truncate_journal),
    _journal_case("empty", "is not an asyncgg journal", lambda folder: (folder / "run.journal").touch()),
    _journal_case("unfinished", "is incomplete.*start again", _create_unfinished_journal),
    _journal_case("in use", "in use by another process; wait", _lock_journal),
    _journal_case("in use, retry", "in use by another process", _lock_journal, "retry", "run.journal", "--yes"),
    _journal_case(
        "in a sealed folder, resume",
        "sealed/run.journal: .*(cannot create|not writable)",
        _create_read_only_folder,
        *("resume", "sealed/run.journal", "--yes", *ENDPOINT_OPTIONS),
    ),
    _journal_case("without a terminal", "no terminal.*--yes", create_journal, "resume", "run.journal"),
)

CASES = (*MANIFESTS, *ROWS, *OPTIONS, *JOURNALS)
