"""Rule: what a test or a person may ask the simulator itself, and change on it, lives here: the paths under /_sim.

Unsigned, outside the quota, not in the counters.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from asyncgg.errors import UsageError
from asyncgg.simulator.service import Service
from asyncgg.simulator.wire import Answer, Request, json_answer

__all__ = ["PREFIX", "introspect", "manifest_csv"]

PREFIX: Final = "/_sim"

_PATHS: Final = {
    "GET /_sim/state": "the fleet now: core -> list of its things",
    "GET /_sim/counters": "what came in and what became of it",
    "GET /_sim/things": "things carried more than once, and sent again after a success",
    "GET /_sim/requests": "the log of arrivals, oldest first; ?last=N",
    "GET /_sim/config": "the settings it runs with",
    "GET /_sim/manifest.csv": "every pair of the fleet as it was at first, as a manifest",
    "POST /_sim/faults": '{"faults": ["500=5%", ...]} replaces all faults',
    "POST /_sim/quota": '{"rate": R, "burst": B}, either or both',
    "POST /_sim/reset": "everything as at the start",
}


def introspect(service: Service, request: Request, now: float) -> Answer:
    """The answer to a request under /_sim; a wrong one gets 400 or 404 and a sentence as `message`."""
    try:
        return _answer(service, request, now)
    except UsageError as error:
        return json_answer({"message": str(error)}, 400)


def manifest_csv(service: Service) -> str:
    """The manifest of the fleet as it was at first, rows that point at nothing included: columns core and thing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("core", "thing"))
    writer.writerows(service.plan.pairs())
    return text.getvalue()


def _answer(service: Service, request: Request, now: float) -> Answer:
    match f"{request.method} {request.path.rstrip('/')}":
        case "GET /_sim":
            return json_answer(_PATHS)
        case "GET /_sim/state":
            return json_answer({core: list(things) for core, things in service.fleet.things.items()})
        case "GET /_sim/counters":
            quota = {"rate": _number(service.quota.rate), "burst": service.quota.burst}
            summary = service.counters.summary()
            return json_answer({**summary, "faults": dict(service.faults.fired), "quota": quota})
        case "GET /_sim/things":
            return json_answer(service.counters.things())
        case "GET /_sim/requests":
            rows = list(service.counters.log)
            last = _whole("last", request.parameters.get("last", str(len(rows))))
            return json_answer([row.as_dict() for row in rows[len(rows) - min(last, len(rows)) :]])
        case "GET /_sim/config":
            config = asdict(service.config) | {"secret_key": "set" if service.config.secret_key else None}
            return json_answer(config | {"rate": _number(service.config.rate)})
        case "GET /_sim/manifest.csv":
            return Answer(200, manifest_csv(service).encode(), {"Content-Type": "text/csv; charset=utf-8"})
        case "POST /_sim/faults":
            faults = _document(request).get("faults")
            if not (isinstance(faults, list) and all(isinstance(spec, str) for spec in faults)):
                raise UsageError('faults: give {"faults": [SPEC, ...]}')
            service.set_faults(faults)
            return json_answer({"faults": faults})
        case "POST /_sim/quota":
            document = _document(request)
            rate = _float("rate", document.get("rate", service.quota.rate))
            burst = _float("burst", document.get("burst", service.quota.burst))
            service.quota.change(rate, burst, now)
            return json_answer({"rate": _number(rate), "burst": burst})
        case "POST /_sim/reset":
            service.reset(now)
            return json_answer({})
        case _:
            return json_answer({"message": f"no such path; GET {PREFIX} lists them"}, 404)


def _document(request: Request) -> Mapping[str, Any]:
    try:
        document = json.loads(request.body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise UsageError("the body is not a JSON object")
    return document


def _float(name: str, value: Any) -> float:
    try:
        return float(value)  # also of a text, since JSON has no infinity
    except (TypeError, ValueError):
        raise UsageError(f"{name}: {value!r} is no number") from None


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{name}: {text!r} is no whole number")
    return int(text)


def _number(value: float) -> float | str:
    return value if value != float("inf") else "inf"
