"""The document of a state: which files are saved and who holds the lease."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from asyncgg.errors import JournalError
from asyncgg.formatting import sanitize
from asyncgg.run_directory import RUN_NAME, RunDirectory, run_sort_key

_SCHEMA: Final = "asyncgg.state/1"
_Seconds = Annotated[float, Field(ge=0, le=1e11)]  # a date must be possible, and NaN is in no range
_FILE_NAME: Final = re.compile(rf"{RUN_NAME}/(?!\.\.?\Z)[^/\\\x00]{{1,200}}")
_JOURNAL: Final = RunDirectory(Path()).journal.name


def _check_file_name(name: str) -> str:
    """A name that leads out of the folder of the runs, or that is not one of a run, is an error."""
    if not _FILE_NAME.fullmatch(name):
        raise ValueError("invalid name of a file")
    return name


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One file of a state."""

    key: str
    """Where the store keeps it; every save of a changed file has a new key."""
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """The process that may run the state."""

    owner: str
    """Unique to one start: host, process id and a random part."""
    seconds: _Seconds
    """Validity of the lease since the document was stored."""
    expires_at: float
    """The same as seconds since 1970 by the clock of the holder; for people only, clocks differ."""


@dataclass(frozen=True, slots=True)
class StateDocument:
    """A state at one moment. Each change replaces the whole document, so it is always consistent."""

    schema: Literal["asyncgg.state/1"] = _SCHEMA
    files: Mapping[Annotated[str, AfterValidator(_check_file_name)], SavedFile] = field(default_factory=dict)
    """By their path: the name of the run, a slash, and the name of the file."""
    clean: bool = True
    """Whether nothing was sent after the files were saved, except what the journal has as claimed."""
    saved_at: _Seconds | None = None
    """When the files were saved, in seconds since 1970; None before the first time."""
    holder: LeaseHolder | None = None
    """None when no process runs the state."""

    def runs(self, *, with_journal: bool = False) -> list[str]:
        """The names of the runs, oldest first; `with_journal`: only of those that sent something, or were about to."""
        names = {name.partition("/")[0] for name in self.files if not with_journal or name.endswith(f"/{_JOURNAL}")}
        return sorted(names, key=run_sort_key)

    def to_json(self) -> bytes:
        """The document as it is stored."""
        return _ADAPTER.dump_json(self, indent=1)

    @staticmethod
    def parse(data: bytes, location: str) -> StateDocument:
        """Read a stored document. Raises `JournalError` when it is not one of this version."""
        try:
            return _ADAPTER.validate_json(data)
        except ValidationError as error:
            if b'"asyncgg.campaign-state/' in data:
                raise JournalError(
                    f"{location} is the state of a campaign; give the folder of the campaign, or the state of one"
                    f" target: {location}/TARGET"
                ) from None
            detail = error.errors(include_url=False)[0]
            where = sanitize(".".join(map(str, detail["loc"]))) or "document"
            raise JournalError(
                f"{location} is not a state of this version of asyncgg ({where}: {detail['msg']}); check the location,"
                " or upgrade asyncgg"
            ) from None


_ADAPTER: Final = TypeAdapter(StateDocument)
