"""The settings of the simulator; its command line options derive from the fields."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncgg.errors import UsageError
from asyncgg.service_limiters import WINDOWS, LimiterKind, LimiterSpec
from asyncgg.simulator.faults import parse_faults
from asyncgg.simulator.iot_api import parse_iot_quotas

DEFAULT_PORT = 8765


def _option(default: Any, help_text: str, metavar: str, *, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"help": help_text, "metavar": metavar})


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorConfig:
    """All settings of a simulator; raises `UsageError` for an invalid value."""

    rate: float = _option(30.0, "quota, requests per second (inf: no quota)", "R")
    burst: float = _option(5.0, "requests that the quota admits at once", "B")
    limiter: str | None = _option(
        None,
        "how the quota counts: token-bucket (default), fixed-window, sliding-window, partitioned "
        "(as --partitions alone), delayed (as --delay alone); only the buckets have a burst",
        "KIND",
    )
    partitions: int | None = _option(
        None, "token buckets that share rate and burst; each request meets one at random [default: 8]", "N"
    )
    window: str | None = _option(None, "length of the windows [default: 1s]", "TIME")
    delay: str | None = _option(None, "time until the delayed sliding window counts a request [default: 500ms]", "TIME")
    latency_ms: float = _option(60.0, "latency of a request, milliseconds", "L")
    jitter_ms: float = _option(0.0, "mean of an exponentially distributed addition to the latency, milliseconds", "J")
    fault: tuple[str, ...] = _option(
        (),
        "fault to inject, repeatable: KIND[:ARGUMENT][@GLOB][#N[-M]][=P%|=COUNT], such as 500=5%, reset-after=3%, "
        "hang=1%, page:403=1%, entry:ThrottlingException=5%, entry:CODE@THING, deny@CORE, expired-token=2",
        "SPEC",
    )
    cores: int = _option(250, "number of core devices", "N")
    things: int = _option(100, "average number of client devices per core", "N")
    size_skew: float = _option(0.0, "0: all cores have the same size; 1: sizes fall as 1/rank; more: steeper", "S")
    seed: int = _option(0, "random seed of fleet and faults", "N")
    missing_things: int = _option(0, "manifest rows with a thing that is not associated with any core", "N")
    missing_cores: int = _option(0, "cores in the manifest that do not exist", "N")
    not_found: str = _option(
        "ResourceNotFoundException",
        "error code for a thing that is not associated, or `success` for no error (AWS documents neither)",
        "CODE",
    )
    retry_after: str = _option("none", "Retry-After on throttles: none, auto or whole seconds", "S")
    account: str = _option("123456789012", "account id returned by STS GetCallerIdentity", "ID")
    iot_quota: tuple[str, ...] = _option(
        (), "quota of an AWS IoT operation, repeatable; *=RATE for all [default: those of AWS]", "OPERATION=RATE"
    )
    iot_page_size: int = _option(250, "maximum items of a page of AWS IoT", "N")
    detach_delay: float = _option(
        3.0, "time until a detached certificate is not listed any more, seconds; its thing can be deleted later", "S"
    )
    secret_key: str | None = _option(
        None, "verify signatures with this secret key [default: check their form only]", "SECRET", secret=True
    )
    max_clock_skew: float | None = _option(
        None, "reject requests whose date differs by more than this many seconds", "S"
    )
    hang_seconds: float = _option(600.0, "maximum time to hold a hanging request, seconds", "S")
    record: str | None = _option(None, "append one line of JSON per request to this file", "FILE")

    def __post_init__(self) -> None:
        self.limiter_spec().check_quota(self.rate, self.burst)
        parse_faults(self.fault)
        for rate in parse_iot_quotas(self.iot_quota).values():
            self.limiter_spec().check_quota(rate, self.burst)
        for name in ("latency_ms", "jitter_ms", "size_skew", "hang_seconds", "detach_delay"):
            _require_at_least(name, getattr(self, name), 0.0)
        for name in ("things", "missing_things", "missing_cores"):
            _require_at_least(name, getattr(self, name), 0)
        _require_at_least("cores", self.cores, 1)
        _require_at_least("iot_page_size", self.iot_page_size, 1)
        if self.max_clock_skew is not None:
            _require_at_least("max_clock_skew", self.max_clock_skew, 0.0)
        if not re.fullmatch(r"none|auto|\d{1,6}", self.retry_after):
            raise UsageError(f"retry-after {self.retry_after!r}: must be none, auto or whole seconds")
        if not re.fullmatch(r"\d{12}", self.account):
            raise UsageError(f"account {self.account!r}: must be 12 digits")
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", self.not_found):
            raise UsageError(f"not-found {self.not_found!r}: must be an error code or success")

    def limiter_spec(self) -> LimiterSpec:
        """Get the limiter of these settings."""
        implied = "partitioned" if self.partitions is not None else "delayed" if self.delay is not None else None
        name = self.limiter or implied or "token-bucket"
        if name not in list(LimiterKind):
            raise UsageError(f"limiter {name!r}: must be one of: {', '.join(LimiterKind)}")
        kind = LimiterKind(name)
        values: dict[str, tuple[Any, Sequence[LimiterKind]]] = {
            "partitions": (self.partitions, (LimiterKind.PARTITIONED,)),
            "window": (_parse_seconds("window", self.window), WINDOWS),
            "delay": (_parse_seconds("delay", self.delay), (LimiterKind.DELAYED,)),
        }
        for option, (value, kinds) in values.items():
            if value is not None and kind not in kinds:
                raise UsageError(f"{option}: the limiter {kind} has none; only for: {', '.join(kinds)}")
        return LimiterSpec(kind, **{option: value for option, (value, _) in values.items() if value is not None})


def _parse_seconds(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|)", text, re.ASCII)
    if match is None:
        raise UsageError(f"{name} {text!r}: must be a time such as 500ms or 1s")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def _require_at_least(name: str, value: float, minimum: float) -> None:
    if not (math.isfinite(value) and value >= minimum):
        raise UsageError(f"{name.replace('_', '-')} {value}: must be {minimum:g} or more")
