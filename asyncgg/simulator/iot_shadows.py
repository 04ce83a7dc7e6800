"""Shadows of the simulated AWS IoT."""

# A shadow does not need a thing; one that is made again continues the version of the deleted one
# [aws-sdk-java-v2 issue 2134]. The classic shadow has no name and is not in the list of names.

from __future__ import annotations

from typing import Any, Final

from asyncgg.simulator.iot_call import DATA_PLANE, IotCall, iot_operation
from asyncgg.simulator.registry import Registry, not_found

_SHADOW: Final = "/things/{thing}/shadow"
_QUOTA: Final = 4000.0
"""Device Shadow API requests per second of an account."""


@iot_operation(
    "ListNamedShadowsForThing", "GET /api/things/shadow/ListNamedShadowsForThing/{thing}", _QUOTA, DATA_PLANE
)
def _list_named_shadows(registry: Registry, call: IotCall) -> dict[str, Any]:
    named = sorted(filter(None, registry.shadows.get(call.thing, {})))
    names, following = call.page(named, size="pageSize")
    return {"results": names, "timestamp": int(call.now)} | following


@iot_operation("GetThingShadow", f"GET {_SHADOW}", _QUOTA, DATA_PLANE)
def _get_shadow(registry: Registry, call: IotCall) -> dict[str, Any]:
    return _shadow(registry, call) | {"timestamp": int(call.now)}


@iot_operation("UpdateThingShadow", f"POST {_SHADOW}", _QUOTA, DATA_PLANE)
def _update_shadow(registry: Registry, call: IotCall) -> dict[str, Any]:
    return registry.set_shadow(call.thing, call.request.parameters.get("name", ""), call.body)


@iot_operation("DeleteThingShadow", f"DELETE {_SHADOW}", _QUOTA, DATA_PLANE)
def _delete_shadow(registry: Registry, call: IotCall) -> dict[str, Any]:
    version = _shadow(registry, call)["version"]
    registry.delete_shadow(call.thing, call.request.parameters.get("name", ""))
    return {"version": version, "timestamp": int(call.now)}


def _shadow(registry: Registry, call: IotCall) -> dict[str, Any]:
    """The shadow that a request names; the classic one has no name. Raises `ApiError` (404)."""
    name = call.request.parameters.get("name", "")
    document = registry.shadows.get(call.thing, {}).get(name)
    if document is None:
        raise not_found(f"No shadow exists with name: '{call.thing}{'~' if name else ''}{name}'")
    return {"version": 1, **document}
