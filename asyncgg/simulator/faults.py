"""Parses fault specifications and decides which requests and entries they affect."""

# A specification reads KIND[:ARGUMENT][@GLOB][#N[-M]][=P%|=COUNT], for example:
#
#   500=5%                        5 % of the requests fail with 500
#   reset-after=3%                the change is applied, then the connection is reset
#   500#3                         the third request; #3-5: the third to the fifth
#   expired-token=2               the next two requests
#   deny@core-0000?               every request for these cores
#   deny@UpdateCertificate        every request of this operation
#   page:403                      a proxy answers every request with 403 and an HTML page
#   entry:CODE=5%                 5 % of the entries fail with this code
#   entry:CODE@device-000001      this thing always fails; with =2: the first two times

from __future__ import annotations

import fnmatch
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from asyncgg.errors import UsageError


class FaultEffect(Enum):
    """The effect of a fault."""

    ERROR = "error"
    RESET = "reset"
    HANG = "hang"
    GARBAGE = "garbage"
    TRUNCATED = "half"
    SLOW = "slow"
    ENTRY = "entry"
    PAGE = "page"


class FaultSubject(Enum):
    """The names that the GLOB of a fault is matched with."""

    CORE = "core"
    """Or the name of the operation."""
    THING = "thing"
    ACCESS_KEY = "access key"


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A kind of fault; `applied`: the change of the request is made."""

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
    # The ThrottlingException of AWS IoT has HTTP status 400 [AWS IoT API reference].
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
    # A 200 with a broken body still means that the service applied the change.
    "garbage": FaultKind(FaultEffect.GARBAGE, True, 200),
    "garbage-before": FaultKind(FaultEffect.GARBAGE, False, 200),
    "half": FaultKind(FaultEffect.TRUNCATED, True, 200),
    "half-before": FaultKind(FaultEffect.TRUNCATED, False, 200),
    # Answers of something between client and service: without request id, error type and JSON.
    "page": FaultKind(FaultEffect.PAGE, False, 503),
    "page-after": FaultKind(FaultEffect.PAGE, True, 503),
    "page-empty": FaultKind(FaultEffect.PAGE, False, 503),
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
    FaultEffect.PAGE: "a status",
}


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """A parsed fault specification."""

    text: str
    name: str
    kind: FaultKind
    code: str = ""
    seconds: float = 0.0
    """Delay of `slow`."""
    status: int = 0
    """Status of the response."""
    glob: str = ""
    share: float | None = None
    """Probability, 0 to 1; None for a deterministic fault."""
    count: int | None = None
    """Maximum number of injections (per thing for `entry`); None for no limit."""
    first: int | None = None
    last: int | None = None
    """Range of request numbers, counted from 1 since the fault was set."""
    matches: Callable[[str], object] | None = None
    """Matches a name; None without a glob."""


def parse_faults(specs: Iterable[str]) -> tuple[FaultSpec, ...]:
    """Parse all specs; raises `UsageError` for the first invalid one."""
    faults = tuple(parse_fault(spec) for spec in specs)
    total_share = sum(
        f.share or 0.0 for f in faults if not f.glob and f.kind.effect not in (FaultEffect.ENTRY, FaultEffect.SLOW)
    )
    if total_share > 1.0 + 1e-9:
        raise UsageError(f"the shares of request faults add up to {total_share:.0%}; the maximum is 100%")
    return faults


def parse_fault(spec: str) -> FaultSpec:
    """Parse one spec; raises `UsageError`."""
    match = _SPEC.fullmatch(spec.strip())
    if match is None:
        raise _invalid_spec(spec, "expected KIND[:ARGUMENT][@GLOB][#N[-M]][=P%|=COUNT]")
    name, argument, glob = match["name"], match["argument"] or "", match["glob"] or ""
    kind = FAULT_KINDS.get(name)
    if kind is None:
        raise _invalid_spec(spec, f"unknown kind {name!r}; must be one of: {', '.join(FAULT_KINDS)}")
    if name == "deny-all" and (glob or match["amount"] or match["first"]):
        raise _invalid_spec(spec, "deny-all affects all requests; use deny for some")
    share, count = _parse_amount(spec, match["amount"])
    first, last = _parse_range(spec, match["first"], match["last"])
    if first is not None and kind.effect is FaultEffect.ENTRY:
        raise _invalid_spec(spec, "#N counts requests; use @GLOB, =P% or =COUNT for entries")
    return FaultSpec(
        text=spec,
        name=name,
        kind=kind,
        code=_resolve_code(spec, kind, argument),
        seconds=_parse_seconds(spec, kind, argument),
        status=_parse_status(spec, kind, argument),
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
        raise _invalid_spec(spec, f"{text!r} must be a share such as 5% (0% to 100%) or a count such as 2")
    return share, None


def _parse_range(spec: str, first: str | None, last: str | None) -> tuple[int | None, int | None]:
    if first is None:
        return None, None
    start, end = int(first), int(last or first)
    if not 1 <= start <= end:
        raise _invalid_spec(spec, "request numbers start at 1, and the lower number comes first")
    return start, end


def _resolve_code(spec: str, kind: FaultKind, argument: str) -> str:
    if argument and kind.effect not in _TAKES_ARGUMENT:
        raise _invalid_spec(spec, f"this kind has no argument ({argument!r})")
    return kind.code if kind.effect in (FaultEffect.SLOW, FaultEffect.PAGE) else argument or kind.code


def _parse_seconds(spec: str, kind: FaultKind, argument: str) -> float:
    if kind.effect is not FaultEffect.SLOW:
        return 0.0
    try:
        seconds = float(argument)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= 3600.0:
        raise _invalid_spec(spec, "slow requires seconds, as in slow:2.5=10%")
    return seconds


def _parse_status(spec: str, kind: FaultKind, argument: str) -> int:
    if kind.effect is not FaultEffect.PAGE or not argument:
        return kind.status
    if not re.fullmatch("[2-5][0-9][0-9]", argument, re.ASCII):
        raise _invalid_spec(spec, "page requires an HTTP status, as in page:403=10%")
    return int(argument)


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """The fault of a request, if any, and its extra delay in seconds."""

    spec: FaultSpec | None = None
    extra_delay: float = 0.0


_NO_FAULT = InjectedFault()


class FaultInjector:
    """Decides which requests and entries get a fault."""

    def __init__(self, specs: Sequence[FaultSpec], rng: random.Random) -> None:
        self.specs = tuple(specs)
        self.fired: Counter[str] = Counter()
        """Number of injections of each spec; every entry counts."""
        self._rng = rng
        self._used: Counter[str] = Counter()
        self._used_by_thing: Counter[tuple[str, str]] = Counter()
        self._arrived = 0
        self._admitted = 0
        request_faults = [f for f in self.specs if f.kind.effect is not FaultEffect.ENTRY]
        self._credential_faults = [f for f in request_faults if f.kind.subject is FaultSubject.ACCESS_KEY]
        self._delays = [f for f in request_faults if f.kind.effect is FaultEffect.SLOW]
        remaining = [f for f in request_faults if f not in self._credential_faults and f not in self._delays]
        self._deterministic = [f for f in remaining if f.share is None]
        self._probabilistic = [f for f in remaining if f.share is not None]
        self._entry_faults = [f for f in self.specs if f.kind.effect is FaultEffect.ENTRY]

    def draw_for_credentials(self, access_key: str) -> FaultSpec | None:
        """Get the fault for credentials with this access key id, if any; call once per request."""
        self._arrived += 1
        for fault in self._credential_faults:
            if _matches_any(fault, (access_key,)) and self._in_range(fault, self._arrived) and self._sampled(fault):
                return self._record(fault)
        return None

    def refuses_key(self, access_key: str) -> bool:
        """Check if a fault always rejects the key; for services whose requests are not counted."""
        return any(
            f.count is None and f.share is None and f.first is None and _matches_any(f, (access_key,))
            for f in self._credential_faults
        )

    def draw_for_request(self, core: str, things: Sequence[str], operation: str = "") -> InjectedFault:
        """Get the fault of an admitted request; call once per request.

        Deterministic faults come first, in their order. The others share one random number, so that
        each gets its share.
        """
        if not self.specs:
            return _NO_FAULT
        self._admitted += 1
        names = (core, operation)
        extra_delay = sum(
            self._record(f).seconds
            for f in self._delays
            if self._matches(f, names, things) and self._in_range(f, self._admitted) and self._sampled(f)
        )
        for fault in self._deterministic:
            if self._matches(fault, names, things) and self._in_range(fault, self._admitted):
                return InjectedFault(self._record(fault), extra_delay)
        roll = self._rng.random() if self._probabilistic else 1.0
        for fault in self._probabilistic:
            if self._matches(fault, names, things) and self._in_range(fault, self._admitted):
                roll -= fault.share or 0.0
                if roll < 0.0:
                    return InjectedFault(self._record(fault), extra_delay)
        return InjectedFault(None, extra_delay)

    def draw_for_entry(self, thing: str) -> FaultSpec | None:
        """Get the fault of an entry, if any."""
        for fault in self._entry_faults:
            if not _matches_any(fault, (thing,)):
                continue
            if fault.count is not None:
                if self._used_by_thing[fault.text, thing] >= fault.count:
                    continue
                self._used_by_thing[fault.text, thing] += 1
            if self._sampled(fault):
                return self._record(fault)
        return None

    def _matches(self, fault: FaultSpec, names: Sequence[str], things: Sequence[str]) -> bool:
        return _matches_any(fault, things if fault.kind.subject is FaultSubject.THING else names)

    def _in_range(self, fault: FaultSpec, request_number: int) -> bool:
        if fault.first is not None and fault.last is not None and not fault.first <= request_number <= fault.last:
            return False
        return fault.count is None or self._used[fault.text] < fault.count

    def _sampled(self, fault: FaultSpec) -> bool:
        return fault.share is None or self._rng.random() < fault.share

    def _record(self, fault: FaultSpec) -> FaultSpec:
        self._used[fault.text] += 1
        self.fired[fault.text] += 1
        return fault


def _matches_any(fault: FaultSpec, names: Sequence[str]) -> bool:
    return fault.matches is None or any(fault.matches(name) for name in names)
