"""Rule: the language of faults lives here: what kinds there are, and a spec's text made into a value. No dice.

KIND[:ARGUMENT][@GLOB][#N[-M]][=P%|=COUNT]

500=5%                        five in a hundred requests are answered 500
reset-after=3%                the change is applied, then the connection is reset
500#3                         the third request; #3-5: the third to the fifth
expired-token=2               the next two requests
deny@core-0000?               every request for these cores
entry:CODE=5%                 each entry fails by itself with this code
entry:CODE@device-000001      this thing always fails; with =2: its first two times
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from asyncgg.errors import UsageError

__all__ = ["KINDS", "Effect", "Fault", "Kind", "Subject", "parse_fault", "parse_faults"]


class Effect(Enum):
    """What a fault does."""

    ERROR = "error"
    RESET = "reset"
    HANG = "hang"
    GARBAGE = "garbage"
    HALF = "half"
    SLOW = "slow"
    ENTRY = "entry"


class Subject(Enum):
    """What the GLOB of a fault is matched with."""

    CORE = "core"
    THING = "thing"
    ACCESS_KEY = "access key"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault. `applied`: the change is made before the fault strikes."""

    effect: Effect
    applied: bool = False
    status: int = 0
    code: str = ""
    subject: Subject = Subject.CORE


_EXPIRED = Kind(Effect.ERROR, False, 403, "ExpiredTokenException", Subject.ACCESS_KEY)
_DENY = Kind(Effect.ERROR, False, 403, "AccessDeniedException")
_RESET = Kind(Effect.RESET)
_HANG = Kind(Effect.HANG)

KINDS: Final[dict[str, Kind]] = {
    "500": Kind(Effect.ERROR, False, 500, "InternalServerException"),
    "500-after": Kind(Effect.ERROR, True, 500, "InternalServerException"),
    "503": Kind(Effect.ERROR, False, 503, "ServiceUnavailableException"),
    "404": Kind(Effect.ERROR, False, 404, "ResourceNotFoundException"),
    "429": Kind(Effect.ERROR, False, 429, "ThrottlingException"),
    # IoT's own ThrottlingException comes with HTTP 400 [AWS IoT API reference].
    "throttling-400": Kind(Effect.ERROR, False, 400, "ThrottlingException"),
    "deny": _DENY,
    "deny-all": _DENY,
    "validation": Kind(Effect.ERROR, False, 400, "ValidationException", Subject.THING),
    "expired-token": _EXPIRED,
    "reset": _RESET,
    "reset-before": _RESET,
    "reset-after": Kind(Effect.RESET, True),
    "hang": _HANG,
    "hang-before": _HANG,
    "hang-after": Kind(Effect.HANG, True),
    # A spoiled 200 means, first of all, that the service did its work.
    "garbage": Kind(Effect.GARBAGE, True, 200),
    "garbage-before": Kind(Effect.GARBAGE, False, 200),
    "half": Kind(Effect.HALF, True, 200),
    "half-before": Kind(Effect.HALF, False, 200),
    "slow": Kind(Effect.SLOW),
    "entry": Kind(Effect.ENTRY, False, 200, "InternalServerException", Subject.THING),
}

_SPEC = re.compile(
    r"(?P<name>[a-z0-9-]+)(?::(?P<argument>[^@#=]+))?(?:@(?P<glob>[^#=]+))?"
    r"(?:#(?P<first>\d+)(?:-(?P<last>\d+))?)?(?:=(?P<amount>[^=]+))?"
)
_TAKES_ARGUMENT: Final = {Effect.ERROR: "an error code", Effect.ENTRY: "an error code", Effect.SLOW: "seconds"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One parsed spec."""

    spec: str
    name: str
    kind: Kind
    code: str = ""
    seconds: float = 0.0
    """Of `slow`."""
    glob: str = ""
    share: float | None = None
    """Probability, 0 to 1; None when it does not roll dice."""
    count: int | None = None
    """Strikes that many times (each thing, for `entry`); None for no end."""
    first: int | None = None
    last: int | None = None
    """Strikes requests number `first` to `last`, counted from 1 since the fault was set."""
    matches: Callable[[str], object] | None = None
    """Whether a name is meant; None when the spec has no glob."""


def parse_faults(specs: Iterable[str]) -> tuple[Fault, ...]:
    """All specs as faults, in their order; raises UsageError naming the first spec that is wrong."""
    faults = tuple(parse_fault(spec) for spec in specs)
    certain = sum(f.share or 0.0 for f in faults if not f.glob and f.kind.effect not in (Effect.ENTRY, Effect.SLOW))
    if certain > 1.0 + 1e-9:
        raise UsageError(f"faults of whole requests add up to {certain:.0%}: 100% is all there is")
    return faults


def parse_fault(spec: str) -> Fault:
    """The fault `spec` describes; raises UsageError naming the spec and what is wrong with it."""
    match = _SPEC.fullmatch(spec.strip())
    if match is None:
        raise _bad(spec, "a fault reads KIND[:ARGUMENT][@GLOB][#N[-M]][=P%|=COUNT]")
    name, argument, glob = match["name"], match["argument"] or "", match["glob"] or ""
    kind = KINDS.get(name)
    if kind is None:
        raise _bad(spec, f"no fault is called {name!r}; there are {', '.join(KINDS)}")
    if name == "deny-all" and (glob or match["amount"] or match["first"]):
        raise _bad(spec, "deny-all means all; use deny for a part")
    share, count = _amount(spec, match["amount"])
    first, last = _numbers(spec, match["first"], match["last"])
    if first is not None and kind.effect is Effect.ENTRY:
        raise _bad(spec, "#N counts requests; an entry takes @GLOB, =P% or =COUNT")
    return Fault(
        spec=spec,
        name=name,
        kind=kind,
        code=_code(spec, kind, argument),
        seconds=_seconds(spec, kind, argument),
        glob=glob,
        share=share,
        count=count,
        first=first,
        last=last,
        matches=re.compile(fnmatch.translate(glob)).match if glob else None,
    )


def _bad(spec: str, why: str) -> UsageError:
    return UsageError(f"fault {spec!r}: {why}")


def _amount(spec: str, text: str | None) -> tuple[float | None, int | None]:
    if text is None:
        return None, None
    if text.isascii() and text.isdigit() and int(text) > 0:
        return None, int(text)
    try:
        share = float(text.removesuffix("%")) / 100.0 if text.endswith("%") else -1.0
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise _bad(spec, f"{text!r} is neither a share such as 5% (0% to 100%) nor a count such as 2")
    return share, None


def _numbers(spec: str, first: str | None, last: str | None) -> tuple[int | None, int | None]:
    if first is None:
        return None, None
    begin, end = int(first), int(last or first)
    if not 1 <= begin <= end:
        raise _bad(spec, "requests are counted from 1, the lower number first")
    return begin, end


def _code(spec: str, kind: Kind, argument: str) -> str:
    if argument and kind.effect not in _TAKES_ARGUMENT:
        raise _bad(spec, f"this kind takes no argument ({argument!r})")
    return kind.code if kind.effect is Effect.SLOW else argument or kind.code


def _seconds(spec: str, kind: Kind, argument: str) -> float:
    if kind.effect is not Effect.SLOW:
        return 0.0
    try:
        seconds = float(argument)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= 3600.0:
        raise _bad(spec, "slow needs its seconds, as in slow:2.5=10%")
    return seconds
