"""A campaign: a folder with one journal for each target, and the results of their runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from asyncgg.errors import JournalError, SettingsError, UsageError
from asyncgg.files import atomic_write_text, read_toml
from asyncgg.fleet.campaign_state import CampaignState, read_journal_result, read_saved_results, saved_journals
from asyncgg.fleet.folder import FILE_NAME, TARGET_NAME
from asyncgg.fleet.results import LaneResult, TargetFailedError, failed_result
from asyncgg.formatting import sanitize
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

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """From a JSON object of the fields. Raises KeyError and TypeError."""
        return cls(**{**document, "journal": Path(document["journal"])})

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
            current = read_journal_result(self.name, self.journal)
        except JournalError as error:
            return failed_result(LaneResult.without_journal(self.name, self.journal), error)
        try:
            return current.or_saved(LaneResult.from_dict(json.loads(self.result_path.read_bytes())))
        except (OSError, ValueError, KeyError, TypeError):
            return current

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
    state: CampaignState | None = None
    """Where the journals are, if not in the folder."""
    digest: str = ""
    """Identifies the list that the campaign is made from; empty if it cannot be prepared further."""
    unprepared: tuple[LaneResult, ...] = ()
    """The results of targets whose journals could not be built."""
    waves: tuple[tuple[str, ...], ...] = ()
    """The names of the targets by wave; empty if all start at once."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read `campaign.toml`. Raises `SettingsError` if it is missing or invalid."""
        path = folder / FILE_NAME
        document = read_toml(path, "campaign file")
        if document.get("schema", _SCHEMA) != _SCHEMA:
            raise SettingsError(f"{path}: schema {document.get('schema')!r} is not one of this asyncgg ({_SCHEMA})")
        try:
            lanes = tuple(_parse_lane(folder, lane) for lane in document["lane"])
            if document.get("targets", len(lanes)) != len(lanes):
                raise ValueError(f"{len(lanes)} of {document['targets']} targets")
            if len({lane.name for lane in lanes}) != len(lanes) or len({lane.journal for lane in lanes}) != len(lanes):
                raise ValueError("two targets have one name or journal")
            state = CampaignState(**document["state"]) if "state" in document else None
            unprepared = tuple(
                failed_result(
                    LaneResult.without_journal(item["name"], folder / f"{_check_name(item['name'])}.journal"),
                    TargetFailedError(str(item["reason"]), int(item["exit"])),
                )
                for item in document.get("unprepared", ())
            )
            rejected, digest = int(document.get("rejected", 0)), document.get("digest", "")
            waves = tuple(tuple(map(str, wave)) for wave in document.get("waves", ()))
            return cls(folder, lanes, rejected, state, digest, unprepared, waves)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise SettingsError(
                f"{path}: invalid campaign file: {error}; restore the file, or use the journals one by one"
            ) from None

    def save(self) -> None:
        """Write `campaign.toml`. Raises `UsageError` if that fails."""
        with atomic_write_text(self.folder / FILE_NAME) as file:
            file.write(f"schema = {_SCHEMA}\ntargets = {len(self.lanes)}\nrejected = {self.rejected}\n")
            file.write(f"digest = {json.dumps(self.digest)}\n")
            if self.waves:
                file.write(f"waves = {json.dumps(self.waves, ensure_ascii=False)}\n")
            if self.state is not None:
                file.write(_format_table("[state]", asdict(self.state)))
            for lane in self.lanes:
                file.write(_format_table("[[lane]]", asdict(lane) | {"journal": lane.journal.name}))
            for result in self.unprepared:
                values = {"name": result.name, "exit": result.exit, "reason": sanitize(result.reason)}
                file.write(_format_table("[[unprepared]]", values))

    def results(self, names: Sequence[str] | None = None) -> list[LaneResult]:
        """The present results of the lanes, by default of all, and of the targets without one.

        With a state they are what is saved there. Raises as `read_saved_results`. Not for use in an event loop.
        """
        lanes = [lane for lane in self.lanes if names is None or lane.name in names]
        if self.state is None:
            return [*(lane.read_result() for lane in lanes), *self.unprepared]
        saved = asyncio.run(read_saved_results(self.state, {lane.name: lane.journal for lane in lanes}))
        return [*saved, *self.unprepared]

    @contextmanager
    def with_journals(self) -> Iterator[Campaign]:
        """The campaign with readable journals: those of the folder, or copies of the saved ones within the block.

        Raises as `read_saved_results`. Not for use in an event loop.
        """
        if self.state is None:
            yield self
            return
        with saved_journals(self.state, {lane.name: lane.journal for lane in self.lanes}) as paths:
            lanes = [replace(lane, journal=paths.get(lane.name, lane.journal)) for lane in self.lanes]
            yield replace(self, lanes=tuple(lanes))

    def outcomes(
        self, *states: ThingState, on_error: Callable[[str, JournalError], object]
    ) -> Iterator[tuple[str, OutcomeRow, Operation]]:
        """The things in these states, by default all, with their targets.

        `on_error` gets each target whose journal is missing or cannot be read to its end, and why.
        """
        with self.with_journals() as campaign:
            for lane in campaign.lanes:
                try:
                    with JournalReader(lane.journal) as reader:
                        operation = reader.summary().operation
                        yield from ((lane.name, row, operation) for row in reader.outcomes(*states))
                except JournalError as error:
                    on_error(lane.name, error)


def _parse_lane(folder: Path, table: Mapping[str, Any]) -> CampaignLane:
    """The lane of a table. Raises `KeyError`, `TypeError` or `ValueError`."""
    index, account, region = table["index"], table["account"], table["region"]
    if type(index) is not int or not isinstance(account, str) or not isinstance(region, str):
        raise TypeError(f"index, account or region of target {table['name']!r}")
    journal = _check_name(Path(table["journal"]).name.removesuffix(".journal"))
    _check_name(table["name"])
    return CampaignLane.from_dict({**table, "journal": folder / f"{journal}.journal"})


def _check_name(name: str) -> str:
    """A name of a target, which is part of file names and is shown."""
    if not TARGET_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a target")
    return name


def _format_table(header: str, values: Mapping[str, object]) -> str:
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items() if value is not None]
    return "\n" + "".join([f"{header}\n", *lines])


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


def waves_left(waves: Sequence[Sequence[str]], things: Mapping[str, int]) -> list[list[str]]:
    """The waves of a later start, from the things that each of its targets still has to send.

    Targets without any come last, so that an earlier failure, which is known, stops nothing.
    """
    left = [[name for name in wave if things.get(name)] for wave in waves]
    started = {name for wave in left for name in wave}
    return [wave for wave in (*left[:-1], [*left[-1], *(name for name in things if name not in started)]) if wave]
