"""Rule: the table of what can be wrong before anything is sent: how it is made, what is typed, what is answered."""

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

GOOD = b"core,thing\ncore-1,thing-1\ncore-1,thing-2\n"
RUN = ("disassociate", "fleet.csv", "--yes", "--json", "--journal", "run.journal")
ENDPOINT = ("--endpoint-url", "{url}")


@dataclass(frozen=True)
class Case:
    """One wrong thing. `{url}` in an argument is an endpoint at which nobody may ever call."""

    name: str
    says: str
    """Regular expression that the message matches."""
    arguments: tuple[str, ...] = RUN
    files: Mapping[str, bytes] = field(default_factory=dict)
    make: Callable[[Path], Any] = lambda folder: None
    """Makes what bytes cannot; what it returns is kept alive until the program has ended."""
    code: int = 2
    env: Mapping[str, str | None] = field(default_factory=dict)
    """Variables besides the usual ones; None takes one away."""
    stdin: bytes = b""
    lines: int = 2
    """Most lines of the message."""
    leaves: tuple[str, ...] = ()
    """Files it may leave."""
    endpoint: bool = True


def _manifest(name: str, says: str, content: bytes, file: str = "fleet.csv", *further: str, **how: Any) -> Case:
    arguments = ("disassociate", file, "--yes", "--json", "--journal", "run.journal", *further)
    return Case(name, says, arguments, {file: content}, **how)


def _rows(name: str, says: str, *rows: bytes) -> Case:
    content = b"core,thing\n" + b"".join(row + b"\n" for row in rows)
    return _manifest(f"row {name}", rf"1 bad row, nothing was sent.*--skip-bad-rows\nfleet.csv:2: {says}", content)


def _option(*words: str, says: str = "", **how: Any) -> Case:
    return Case(f"option {' '.join(words)}", says or words[0], (*RUN, *words), {"fleet.csv": GOOD}, **how)


def _variable(name: str, value: str, says: str = "") -> Case:
    return Case(f"{name}={value}", says or name, files={"fleet.csv": GOOD}, env={name: value})


def _toml(name: str, text: str, says: str) -> Case:
    return Case(f"toml {name}", says, files={"fleet.csv": GOOD, "asyncgg.toml": text.encode()})


def _journal(name: str, says: str, make: Callable[[Path], Any], *command: str, **how: Any) -> Case:
    return Case(f"journal {name}", says, command or ("resume", "run.journal", "--yes", "--json"), make=make, **how)


def journal(folder: Path) -> Path:
    """A journal ready to be run."""
    path = folder / "run.journal"
    importer = Importer(path)
    importer.add([("core-1", "thing-1"), ("core-1", "thing-2")])
    importer.finish({"run": "test", "state": "planned", "settings": "{}"})
    return path


def _changed(statement: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        with closing(sqlite3.connect(journal(folder), isolation_level=None)) as connection:
            connection.execute(statement)

    return make


def _truncated(folder: Path) -> None:
    path = journal(folder)
    os.truncate(path, path.stat().st_size // 2)


def _in_use(folder: Path) -> Any:
    journal(folder)
    lock = (folder / "run.journal.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _unfinished(folder: Path) -> None:
    importer = Importer(folder / "run.journal")
    importer.add([("core-1", "thing-1")])
    importer._connection.close()


def _other_database(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "run.journal")) as connection:
        connection.execute("CREATE TABLE other (id)")


def _sealed(folder: Path) -> None:
    (folder / "sealed").mkdir()
    journal(folder / "sealed")
    (folder / "sealed").chmod(0o555)


def _unreadable(folder: Path) -> None:
    (folder / "fleet.csv").write_bytes(GOOD)
    (folder / "fleet.csv").chmod(0)


MANIFESTS = (
    Case("manifest missing", "fleet.csv: no such file"),
    Case("manifest a directory", "fleet.csv is a directory", make=lambda folder: (folder / "fleet.csv").mkdir()),
    Case("manifest unreadable", "fleet.csv: no permission", make=_unreadable),
    _manifest("manifest empty", "fleet.csv has no associations", b""),
    _manifest("manifest of blank lines", "fleet.csv has no associations", b"\n \n\r\n"),
    _manifest("manifest without rows", "fleet.csv has no associations", b"core,thing\n"),
    _manifest("manifest without columns", r"fleet.csv:1: the header `a,b` lacks a column", b"a,b\n1,2\n"),
    _manifest("manifest with a column twice", "fleet.csv:1: .*twice", b"core,thing,thingName\na,b,c\n"),
    _manifest("manifest of unknown ending", r"fleet.txt: the ending.*--format", GOOD, "fleet.txt"),
    _manifest("manifest of unknown format", "unknown manifest format `xml`", GOOD, "fleet.csv", "--format", "xml"),
    _manifest("manifest in UTF-16", "fleet.csv is UTF-16", GOOD.decode().encode("utf-16")),
    _manifest("manifest in Latin-1", "fleet.csv:1: the header is not UTF-8", b"core,thing,gr\xf6\xdfe\na,b,1\n"),
    _manifest("manifest a spreadsheet", "fleet.csv is a ZIP archive or an Excel file", b"PK\x03\x04" + b"x" * 99),
    _manifest("manifest a JSON array", "fleet.jsonl is a JSON array", b'[{"core":"a","thing":"b"}]', "fleet.jsonl"),
    _manifest("manifest broken Parquet", "fleet.parquet", b"PAR1 and nothing else", "fleet.parquet"),
    _manifest(
        "manifest cut gzip", "fleet.csv.gz: the gzip data is broken", gzip.compress(GOOD, mtime=0)[:-9], "fleet.csv.gz"
    ),
    _manifest("manifest no gzip", "fleet.csv.gz is not gzip", GOOD, "fleet.csv.gz"),
    Case(
        "manifest wholly protected",
        "no associations are left.*2 are protected",
        (*RUN, "--protect", "never.txt"),
        {"fleet.csv": GOOD, "never.txt": b"core-*\n"},
    ),
    Case("manifest on empty standard input", "<stdin> has no associations", ("disassociate", "-", "--yes")),
    Case("manifest in no bucket", "s3://bucket/ names no object", ("plan", "s3://bucket/", "--format", "csv")),
    Case("plan of a missing manifest", "fleet.csv: no such file", ("plan", "fleet.csv", "--json")),
)

ROWS = (
    _rows("without a column", "column `thing` is missing", b"core-1"),
    _rows("with an empty name", "thing is empty", b"core-1, "),
    _rows("over-long", "thing has 129 characters, 128 are allowed", b"core-1," + b"x" * 129),
    _rows("of bad characters", "thing has characters outside", b"core-1,thing/1"),
    _rows("not UTF-8", "is not UTF-8", b"core-1,thing-\xff"),
    _rows("with an open quote", "", b'core-1,"thing'),
    _manifest("row broken JSON", r"fleet.jsonl:1: is not JSON", b'{"core": "a"', "fleet.jsonl"),
    _manifest("row JSON without a key", r"fleet.jsonl:1: key `thing` is missing", b'{"core": "a"}', "fleet.jsonl"),
    _manifest(
        "rows by the dozen", r"12 bad rows(.*\n){10}.*:11: .*\n... and 2 more", b"core,thing\n" + b"a,\n" * 12, lines=12
    ),
    _manifest(
        "rows written to a file",
        "1 bad row",
        b"core,thing\na,\na,b\n",
        "fleet.csv",
        "--rejects",
        "bad.csv",
        leaves=("bad.csv",),
    ),
    _manifest("rows all bad, skipped", "no row is good", b"core,thing\na,\n", "fleet.csv", "--skip-bad-rows"),
    _manifest("rows written over the manifest", "fleet.csv", GOOD, "fleet.csv", "--rejects", "fleet.csv"),
)

OPTIONS = (
    _option("--rate", "0"),
    _option("--rate", "fast"),
    _option("--quota-share", "2"),
    _option("--concurrency", "0"),
    _option("--deadline", "soon"),
    _option("--abort-at", "101"),
    _option("--max-things", "-1"),
    _option("--expect-account", "me", says="--expect-account.*12 digits"),
    _option("--endpoint-url", "nowhere", says="'nowhere'.* is no endpoint URL", endpoint=False),
    _option("--profile", "nobody", says="no AWS profile 'nobody'"),
    _option("--frobnicate", says="--frobnicate.*--help"),
    _option("--config", "nowhere.toml", says="nowhere.toml: there is no such settings file"),
    _option("--protect", "nowhere.txt", says="nowhere.txt: no such protect list"),
    _option("--max-things", "1", says="2 things, --max-things allows 1; nothing was sent", code=4),
    Case("no manifest", "MANIFEST.*--help", ("disassociate",), endpoint=False),
    Case("unknown command", "frobnicate.*--help", ("frobnicate",), endpoint=False),
    Case("no command", "Usage", (), endpoint=False, lines=60),
    _variable("ASYNCGG_RATE", "fast"),
    _variable("ASYNCGG_RAET", "3", "ASYNCGG_RAET: there is no such setting"),
    _variable("ASYNCGG_CODES", "{"),
    _variable("ASYNCGG_CONFIG", "nowhere.toml", "nowhere.toml: there is no such settings file"),
    _toml("unknown key", "raet = 3", "asyncgg.toml: raet: there is no such setting"),
    _toml("wrong value", 'rate = "fast"', "asyncgg.toml: rate"),
    _toml("broken", "rate = \nburst = 3", "asyncgg.toml: .*line 1"),
    _toml("unknown action", '[codes]\nBusy = "shrug"', "asyncgg.toml: codes.Busy: 'shrug'"),
    Case(
        "no terminal to confirm on",
        "no terminal.*nothing was sent.*--yes",
        ("disassociate", "fleet.csv", "--journal", "run.journal"),
        {"fleet.csv": GOOD},
    ),
    Case(
        "no credentials",
        "no AWS credentials",
        files={"fleet.csv": GOOD},
        code=5,
        env={"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
        lines=9,  # the plan comes first
    ),
    Case(
        "no Region",
        "[Rr]egion",
        files={"fleet.csv": GOOD},
        env={"AWS_DEFAULT_REGION": None},
        endpoint=False,
    ),
)

JOURNALS = (
    Case("journal there already", "run.journal: a file is there already", files={"fleet.csv": GOOD}, make=journal),
    Case(
        "journal in a sealed folder",
        "sealed/new.journal: it cannot be created",
        ("disassociate", "fleet.csv", "--yes", "--journal", "sealed/new.journal"),
        {"fleet.csv": GOOD},
        _sealed,
    ),
    Case(
        "journal in no folder",
        "nowhere/new.journal: it cannot be created",
        ("disassociate", "fleet.csv", "--yes", "--journal", "nowhere/new.journal"),
        {"fleet.csv": GOOD},
    ),
    *(
        _journal(f"missing, {command[0]}", "run.journal: there is no such file", lambda folder: None, *command)
        for command in (
            ("resume", "run.journal", "--yes"),
            ("retry", "run.journal", "--yes"),
            ("status", "run.journal"),
            ("report", "run.journal", "--json"),
        )
    ),
    _journal("a directory", "is a directory", lambda folder: (folder / "run.journal").mkdir()),
    _journal("a text", "is not an asyncgg journal", lambda folder: (folder / "run.journal").write_bytes(GOOD)),
    _journal("another database", "is not an asyncgg journal", _other_database),
    _journal("newer", "a newer asyncgg wrote it.*upgrade", _changed("PRAGMA user_version = 99")),
    _journal("cut off", "it is damaged", _truncated),
    _journal("empty", "is not an asyncgg journal", lambda folder: (folder / "run.journal").touch()),
    _journal("unfinished", "its import was not finished.*start again", _unfinished),
    _journal("in use", "is running it; wait for it or stop it", _in_use),
    _journal("in use, retry", "is running it", _in_use, "retry", "run.journal", "--yes"),
    _journal(
        "in a sealed folder, resume",
        "sealed/run.journal: .*cannot be (made|written)",
        _sealed,
        *("resume", "sealed/run.journal", "--yes", *ENDPOINT),
        lines=9,  # the plan comes first
    ),
    _journal("without a terminal", "no terminal.*--yes", journal, "resume", "run.journal"),
)

CASES = (*MANIFESTS, *ROWS, *OPTIONS, *JOURNALS)
