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

__all__ = ["FAULT_KINDS", "FaultEffect", "FaultKind", "FaultSpec", "FaultSubject", "parse_fault", "parse_faults"]


class FaultEffect(Enum):
    """What a fault does."""

    ERROR = "error"
    RESET = "reset"
    HANG = "hang"
    GARBAGE = "garbage"
    TRUNCATED = "half"
    SLOW = "slow"
    ENTRY = "entry"


class FaultSubject(Enum):
    """What the GLOB of a fault is matched with."""

    CORE = "core"
    THING = "thing"
    ACCESS_KEY = "access key"


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One kind of fault. `applied`: the change is made before the fault strikes."""

    effect: FaultEffect
    applied: bool = False
    status: int = 0
    code: str = ""
    subject: FaultSubject = FaultSubject.CORE


_EXPIRED = FaultKind(FaultEffect.ERROR, False, 403, "ExpiredTokenException", FaultSubject.ACCESS_KEY)
_DENY = FaultKind(FaultEffect.ERROR, False, 403, "AccessDeniedException")
_RESET = FaultKind(FaultEffect.RESET)
_HANG = FaultKind(FaultEffect.HANG)

FAULT_KINDS: Final[dict[str, FaultKind]] = {
    "500": FaultKind(FaultEffect.ERROR, False, 500, "InternalServerException"),
    "500-after": FaultKind(FaultEffect.ERROR, True, 500, "InternalServerException"),
    "503": FaultKind(FaultEffect.ERROR, False, 503, "ServiceUnavailableException"),
    "404": FaultKind(FaultEffect.ERROR, False, 404, "ResourceNotFoundException"),
    "429": FaultKind(FaultEffect.ERROR, False, 429, "ThrottlingException"),
    # IoT's own ThrottlingException comes with HTTP 400 [AWS IoT API reference].
    "throttling-400": FaultKind(FaultEffect.ERROR, False, 400, "ThrottlingException"),
    "deny": _DENY,
    "deny-all": _DENY,
    "validation": FaultKind(FaultEffect.ERROR, False, 400, "ValidationException", FaultSubject.THING),
    "expired-token": _EXPIRED,
    "reset": _RESET,
    "reset-before": _RESET,
    "reset-after": FaultKind(FaultEffect.RESET, True),
    "hang": _HANG,
    "hang-before": _HANG,
    "hang-after": FaultKind(FaultEffect.HANG, True),
    # A spoiled 200 means, first of all, that the service did its work.
    "garbage": FaultKind(FaultEffect.GARBAGE, True, 200),
    "garbage-before": FaultKind(FaultEffect.GARBAGE, False, 200),
    "half": FaultKind(FaultEffect.TRUNCATED, True, 200),
    "half-before": FaultKind(FaultEffect.TRUNCATED, False, 200),
    "slow": FaultKind(FaultEffect.SLOW),
    "entry": FaultKind(FaultEffect.ENTRY, False, 200, "InternalServerException", FaultSubject.THING),
}

_SPEC = re.compile(
    r"(?P<name>[a-z0-9-]+)(?::(?P<argument>[^@#=]+))?(?:@(?P<glob>[^#=]+))?"
    r"(?:#(?P<first>\d+)(?:-(?P<last>\d+))?)?(?:=(?P<amount>[^=]+))?"
)
_TAKES_ARGUMENT: Final = {
    FaultEffect.ERROR: "an error code",
    FaultEffect.ENTRY: "an error code",
    FaultEffect.SLOW: "seconds",
}


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """One parsed spec."""

    text: str
    name: str
    kind: FaultKind
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


def parse_faults(specs: Iterable[str]) -> tuple[FaultSpec, ...]:
    """All specs as faults, in their order; raises UsageError naming the first spec that is wrong."""
    faults = tuple(parse_fault(spec) for spec in specs)
    total_share = sum(
        f.share or 0.0 for f in faults if not f.glob and f.kind.effect not in (FaultEffect.ENTRY, FaultEffect.SLOW)
    )
    if total_share > 1.0 + 1e-9:
        raise UsageError(f"faults of whole requests add up to {total_share:.0%}: 100% is all there is")
    return faults


def parse_fault(spec: str) -> FaultSpec:
    """The fault `spec` describes; raises UsageError naming the spec and what is wrong with it."""
    match = _SPEC.fullmatch(spec.strip())
    if match is None:
        raise _invalid_spec(spec, "a fault reads KIND[:ARGUMENT][@GLOB][#N[-M]][=P%|=COUNT]")
    name, argument, glob = match["name"], match["argument"] or "", match["glob"] or ""
    kind = FAULT_KINDS.get(name)
    if kind is None:
        raise _invalid_spec(spec, f"no fault is called {name!r}; there are {', '.join(FAULT_KINDS)}")
    if name == "deny-all" and (glob or match["amount"] or match["first"]):
        raise _invalid_spec(spec, "deny-all means all; use deny for a part")
    share, count = _parse_amount(spec, match["amount"])
    first, last = _parse_range(spec, match["first"], match["last"])
    if first is not None and kind.effect is FaultEffect.ENTRY:
        raise _invalid_spec(spec, "#N counts requests; an entry takes @GLOB, =P% or =COUNT")
    return FaultSpec(
        text=spec,
        name=name,
        kind=kind,
        code=_resolve_code(spec, kind, argument),
        seconds=_parse_seconds(spec, kind, argument),
        glob=glob,
        share=share,
        count=count,
        first=first,
        last=last,
        matches=re.compile(fnmatch.translate(glob)).match if glob else None,
    )


def _invalid_spec(spec: str, reason: str) -> UsageError:
    return UsageError(f"fault {spec!r}: {reason}")


def _parse_amount(spec: str, text: str | None) -> tuple[float | None, int | None]:
    if text is None:
        return None, None
    if text.isascii() and text.isdigit() and int(text) > 0:
        return None, int(text)
    try:
        share = float(text.removesuffix("%")) / 100.0 if text.endswith("%") else -1.0
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise _invalid_spec(spec, f"{text!r} is neither a share such as 5% (0% to 100%) nor a count such as 2")
    return share, None


def _parse_range(spec: str, first: str | None, last: str | None) -> tuple[int | None, int | None]:
    if first is None:
        return None, None
    start, end = int(first), int(last or first)
    if not 1 <= start <= end:
        raise _invalid_spec(spec, "requests are counted from 1, the lower number first")
    return start, end


def _resolve_code(spec: str, kind: FaultKind, argument: str) -> str:
    if argument and kind.effect not in _TAKES_ARGUMENT:
        raise _invalid_spec(spec, f"this kind takes no argument ({argument!r})")
    return kind.code if kind.effect is FaultEffect.SLOW else argument or kind.code


def _parse_seconds(spec: str, kind: FaultKind, argument: str) -> float:
    if kind.effect is not FaultEffect.SLOW:
        return 0.0
    try:
        seconds = float(argument)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= 3600.0:
        raise _invalid_spec(spec, "slow needs its seconds, as in slow:2.5=10%")
    return seconds
