"""Handles requests under /_sim, which inspect and change the simulator."""

# They are unsigned, use no quota and are not counted.

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

PREFIX: Final = "/_sim"

_PATHS: Final = {
    "GET /_sim/state": "the current fleet: core -> list of things",
    "GET /_sim/iot": "the current state of AWS IoT: things, certificates, policies, CAs, shadows",
    "GET /_sim/counters": "counts of requests and outcomes",
    "GET /_sim/things": "things in several requests, and things sent again after a success",
    "GET /_sim/requests": "the log of requests, oldest first; ?last=N",
    "GET /_sim/config": "the settings",
    "GET /_sim/manifest.csv": "the initial fleet as a manifest",
    "POST /_sim/faults": '{"faults": ["500=5%", ...]} replaces all faults',
    "POST /_sim/quota": '{"rate": R, "burst": B}, either or both',
    "POST /_sim/iot": "changes that state: members replace, null removes",
    "POST /_sim/reset": "restore the initial state",
}


def handle_control_request(service: Service, request: Request, now: float) -> Response:
    """Handle a request under /_sim; an invalid one gets 400 or 404 with a `message`."""
    try:
        return _dispatch(service, request, now)
    except UsageError as error:
        return json_response({"message": str(error)}, 400)


def manifest_csv(service: Service) -> str:
    """Build the manifest of the initial fleet, including missing things and cores."""
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
            return json_response({core: sorted(things) for core, things in service.fleet.things.items()})
        case "GET /_sim/iot":
            return json_response(service.registry.to_dict())
        case "GET /_sim/counters":
            quota = {"rate": _encode_rate(service.quota.rate), "burst": service.quota.burst}
            summary = service.counters.summary()
            return json_response({**summary, "faults": dict(service.faults.fired), "quota": quota})
        case "GET /_sim/things":
            return json_response(service.counters.things())
        case "GET /_sim/requests":
            rows = list(service.counters.log)
            last = _parse_integer("last", request.parameters.get("last", str(len(rows))))
            return json_response([asdict(row) for row in rows[len(rows) - min(last, len(rows)) :]])
        case "GET /_sim/config":
            config = asdict(service.config) | {"secret_key": "set" if service.config.secret_key else None}
            return json_response(config | {"rate": _encode_rate(service.config.rate)})
        case "GET /_sim/manifest.csv":
            return Response(200, manifest_csv(service).encode(), {"Content-Type": "text/csv; charset=utf-8"})
        case "POST /_sim/faults":
            faults = _parse_object(request).get("faults")
            if not (isinstance(faults, list) and all(isinstance(spec, str) for spec in faults)):
                raise UsageError('faults: expected {"faults": [SPEC, ...]}')
            service.set_faults(faults)
            return json_response({"faults": faults})
        case "POST /_sim/quota":
            document = _parse_object(request)
            rate = _parse_float("rate", document.get("rate", service.quota.rate))
            burst = _parse_float("burst", document.get("burst", service.quota.burst))
            service.set_quota(rate, burst, now)
            return json_response({"rate": _encode_rate(rate), "burst": burst})
        case "POST /_sim/iot":
            service.registry.patch(_parse_object(request))
            return json_response({})
        case "POST /_sim/reset":
            service.reset(now)
            return json_response({})
        case _:
            return json_response({"message": f"unknown path; GET {PREFIX} lists all paths"}, 404)


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
        return float(value)  # accepts a string, because JSON has no infinity
    except (TypeError, ValueError):
        raise UsageError(f"{name}: {value!r} is not a number") from None


def _parse_integer(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{name}: {text!r} is not a whole number")
    return int(text)


def _encode_rate(value: float) -> float | str:
    return value if value != float("inf") else "inf"
