"""A campaign: a folder with one journal for each target, and the results of their runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from asyncgg.errors import JournalError, SettingsError, UsageError
from asyncgg.files import atomic_write_text, read_toml
from asyncgg.fleet.folder import FILE_NAME
from asyncgg.fleet.results import LaneResult, failed_result
from asyncgg.journal import JournalReader, OutcomeRow
from asyncgg.models import Operation, ThingState

_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class CampaignLane:
    """The part of a campaign in one target."""

    index: int
    """Its position among the targets of the campaign, which decides its shard."""
    name: str
    account: str
    region: str
    journal: Path

    @property
    def result_path(self) -> Path:
        """Where the result of its last start is kept."""
        return self.journal.with_suffix(".result.json")

    def read_result(self) -> LaneResult:
        """The present result, from the journal and, if they are current, code and reason of the last start.

        A journal that cannot be read is the result of its lane only.
        """
        if not self.journal.exists():
            return LaneResult.without_journal(self.name, self.journal)
        try:
            with JournalReader(self.journal) as reader:
                current = LaneResult.from_summary(
                    self.name, reader.summary(), None, reader.meta().get("reason", ""), running=reader.is_running()
                )
        except JournalError as error:
            return failed_result(LaneResult.without_journal(self.name, self.journal), error)
        try:
            saved = LaneResult.from_dict(json.loads(self.result_path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            return current
        return current if current.running or not saved.has_counts_of(current) else saved

    def save_result(self, result: LaneResult) -> None:
        """Keep `result`. Raises `UsageError` if it cannot be written."""
        with atomic_write_text(self.result_path) as file:
            file.write(json.dumps(result.to_dict()) + "\n")


@dataclass(frozen=True, slots=True)
class Campaign:
    """The lanes of a campaign folder."""

    folder: Path
    lanes: tuple[CampaignLane, ...]
    rejected: int = 0
    """Bad rows of the manifest, which belong to no target."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read `campaign.toml`. Raises `SettingsError` if it is missing or invalid."""
        path = folder / FILE_NAME
        document = read_toml(path, "campaign file")
        if document.get("schema") != _SCHEMA:
            raise SettingsError(f"{path}: schema {document.get('schema')!r} is not one of this asyncgg ({_SCHEMA})")
        try:
            lanes = tuple(
                CampaignLane(
                    lane["index"], lane["name"], lane["account"], lane["region"], folder / Path(lane["journal"]).name
                )
                for lane in document["lane"]
            )
            return cls(folder, lanes, int(document.get("rejected", 0)))
        except (KeyError, TypeError, ValueError) as error:
            raise SettingsError(f"{path}: incomplete campaign file: {error}; restore the file") from None

    def save(self) -> None:
        """Write `campaign.toml`. Raises `UsageError` if that fails."""
        with atomic_write_text(self.folder / FILE_NAME) as file:
            file.write(f"schema = {_SCHEMA}\nrejected = {self.rejected}\n")
            for lane in self.lanes:
                values = asdict(lane) | {"journal": lane.journal.name}
                file.write("\n[[lane]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))

    def results(self) -> list[LaneResult]:
        """The present result of every lane."""
        return [lane.read_result() for lane in self.lanes]

    def outcomes(self, *states: ThingState) -> Iterator[tuple[str, OutcomeRow, Operation]]:
        """The things in these states, by default all, with their targets. Raises `JournalError`."""
        for lane in self.lanes:
            if lane.journal.exists():
                with JournalReader(lane.journal) as reader:
                    operation = reader.summary().operation
                    yield from ((lane.name, row, operation) for row in reader.outcomes(*states))


@dataclass(frozen=True, slots=True)
class Shard:
    """Every `count`-th lane, from `index` on."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `K/N`, with K from 0. Raises `UsageError`."""
        index, separator, count = text.partition("/")
        if not (separator and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
            raise UsageError(f"--shard: {text!r} must be K/N, with K from 0 to N-1, such as 0/3")
        return cls(int(index), int(count))

    def owns(self, index: int) -> bool:
        """Whether the lane of this index belongs to the shard."""
        return index % self.count == self.index


def plan_waves(names: Sequence[str], waves: str | None, canary: str | None) -> list[list[str]]:
    """The names by wave: the canary alone, then waves of these sizes, then the rest.

    `waves`: sizes as `1,5,25%`; a percentage is of all names, rounded up. Raises `UsageError`.
    """
    remaining = list(names)
    result: list[list[str]] = []
    if canary is not None:
        if canary not in remaining:
            raise UsageError(f"--canary: {canary!r} is not a target of the campaign; known: {', '.join(names)}")
        remaining.remove(canary)
        result.append([canary])
    for text in waves.split(",") if waves else ():
        number = text.strip().removesuffix("%")
        if not (number.isdecimal() and int(number) > 0) or (text.strip().endswith("%") and int(number) > 100):
            raise UsageError(f"--waves: {text.strip()!r} must be a number of targets or a percentage, as in 1,5,25%")
        size = -(-len(names) * int(number) // 100) if text.strip().endswith("%") else int(number)
        result.append(remaining[:size])
        remaining = remaining[size:]
    result.append(remaining)
    return [wave for wave in result if wave]
