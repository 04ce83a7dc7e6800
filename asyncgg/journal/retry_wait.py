"""What a run waits for while all of its remaining things wait for their next attempt."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Self

from asyncgg.formatting import format_count, format_duration


@dataclass(frozen=True, slots=True)
class RetryWait:
    """A pause before the next attempt; durations in seconds, counted from `at`."""

    at: float
    """Seconds since 1970, UTC."""
    things: int
    cores: int
    code: str
    """The code of the last failure; empty if there are several."""
    attempt: int
    """Number of the next attempt."""
    max_attempts: int
    next_in: float
    """Until the first core is sent again."""
    last_in: float
    """Until the last one is."""
    ends_in: float | None
    """The longest that all further pauses take, unless the service asks for more; None if unknown."""
    last_request: int = 0
    """The journal's latest request: a later one ends the pause."""

    def seconds_left(self, now: float) -> float:
        """Seconds after `now`, a Unix time, until everything was sent again once."""
        return max(0.0, self.at + self.last_in - now)

    def describe(self, now: float) -> str:
        """The wait in one phrase, as of `now`."""
        elapsed = max(0.0, now - self.at)
        parts = [f"attempt {self.attempt:,} of {self.max_attempts:,}"]
        if self.code:
            parts.insert(0, self.code)
        parts.append(f"next in {format_duration(max(0.0, self.next_in - elapsed), whole=True)}")
        if self.ends_in is not None:
            parts.append(f"at most {format_duration(max(0.0, self.ends_in - elapsed), whole=True)} more")
        return f"{format_count(self.things, 'thing')} on {format_count(self.cores, 'core')}: {', '.join(parts)}"

    def to_json(self) -> str:
        """The text that the journal keeps."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The wait of such a text. Raises `ValueError`."""
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"invalid retry wait: {error}") from None
