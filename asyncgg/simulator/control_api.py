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
from asyncgg.simulator.wire import Request, Response, json_response

__all__ = ["PREFIX", "handle_control_request", "manifest_csv"]

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


def handle_control_request(service: Service, request: Request, now: float) -> Response:
    """The answer to a request under /_sim; a wrong one gets 400 or 404 and a sentence as `message`."""
    try:
        return _dispatch(service, request, now)
    except UsageError as error:
        return json_response({"message": str(error)}, 400)


def manifest_csv(service: Service) -> str:
    """The manifest of the fleet as it was at first, rows that point at nothing included: columns core and thing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("core", "thing"))
    writer.writerows(service.fleet_spec.pairs())
    return text.getvalue()


def _dispatch(service: Service, request: Request, now: float) -> Response:
    match f"{request.method} {request.path.rstrip('/')}":
        case "GET /_sim":
            return json_response(_PATHS)
        case "GET /_sim/state":
            return json_response({core: list(things) for core, things in service.fleet.things.items()})
        case "GET /_sim/counters":
            quota = {"rate": _encode_rate(service.quota.rate), "burst": service.quota.burst}
            summary = service.counters.summary()
            return json_response({**summary, "faults": dict(service.faults.fired), "quota": quota})
        case "GET /_sim/things":
            return json_response(service.counters.things())
        case "GET /_sim/requests":
            rows = list(service.counters.log)
            last = _parse_integer("last", request.parameters.get("last", str(len(rows))))
            return json_response([row.as_dict() for row in rows[len(rows) - min(last, len(rows)) :]])
        case "GET /_sim/config":
            config = asdict(service.config) | {"secret_key": "set" if service.config.secret_key else None}
            return json_response(config | {"rate": _encode_rate(service.config.rate)})
        case "GET /_sim/manifest.csv":
            return Response(200, manifest_csv(service).encode(), {"Content-Type": "text/csv; charset=utf-8"})
        case "POST /_sim/faults":
            faults = _parse_object(request).get("faults")
            if not (isinstance(faults, list) and all(isinstance(spec, str) for spec in faults)):
                raise UsageError('faults: give {"faults": [SPEC, ...]}')
            service.set_faults(faults)
            return json_response({"faults": faults})
        case "POST /_sim/quota":
            document = _parse_object(request)
            rate = _parse_float("rate", document.get("rate", service.quota.rate))
            burst = _parse_float("burst", document.get("burst", service.quota.burst))
            service.quota.set_limits(rate, burst, now)
            return json_response({"rate": _encode_rate(rate), "burst": burst})
        case "POST /_sim/reset":
            service.reset(now)
            return json_response({})
        case _:
            return json_response({"message": f"no such path; GET {PREFIX} lists them"}, 404)


def _parse_object(request: Request) -> Mapping[str, Any]:
    try:
        document = json.loads(request.body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise UsageError("the body is not a JSON object")
    return document


def _parse_float(name: str, value: Any) -> float:
    try:
        return float(value)  # also of a text, since JSON has no infinity
    except (TypeError, ValueError):
        raise UsageError(f"{name}: {value!r} is no number") from None


def _parse_integer(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{name}: {text!r} is no whole number")
    return int(text)


def _encode_rate(value: float) -> float | str:
    return value if value != float("inf") else "inf"
