"""An open client of the AWS SDK, each operation called within its own quota."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from botocore import xform_name
from botocore.parsers import ResponseParserError

from asyncgg.aws_calls.operation import AwsCallError, RateLimitedOperation, RenewableCredentials
from asyncgg.retry_policy import RetryPolicy
from asyncgg.transport.client import open_service_client
from asyncgg.transport.config import ConnectionConfig, resolve_endpoint
from asyncgg.transport.sdk import TracingSession

_DEFAULT_RETRY: Final = RetryPolicy(max_attempts=8)
_NO_CODES: Final[Mapping[str, frozenset[str]]] = MappingProxyType({})


class RateLimitedClient:
    """Calls the operations in `rates`, in requests per second. Needs a running loop.

    `denied_advice`: with `{}` for the name of the operation. The rest is as in `RateLimitedOperation`,
    the last two by operation. Every method raises as `RateLimitedOperation.call`.
    """

    def __init__(
        self,
        client: Any,
        rates: Mapping[str, float],
        *,
        denied_advice: str,
        credentials: RenewableCredentials | None = None,
        timeout: float = 60.0,
        retry: RetryPolicy = _DEFAULT_RETRY,
        expected_codes: Mapping[str, frozenset[str]] = _NO_CODES,
        not_repeatable: frozenset[str] = frozenset(),
    ) -> None:
        self._client = client
        self.operations: Final = {
            name: RateLimitedOperation(
                name,
                rate,
                retry=retry,
                credentials=credentials,
                timeout=timeout,
                denied_advice=denied_advice.format(name),
                expected_codes=expected_codes.get(name, frozenset()),
                repeatable=name not in not_repeatable,
            )
            for name, rate in rates.items()
        }
        """The counters of each operation."""

    async def call(self, name: str, **arguments: Any) -> Mapping[str, Any]:
        """The response of an operation."""
        return await self.operations[name].call(partial(self._method(name), **arguments))

    async def find(self, name: str, **arguments: Any) -> Mapping[str, Any] | None:
        """As `call`; None if the service says that what the call is about does not exist."""
        return await self.operations[name].find(partial(self._method(name), **arguments))

    async def pages(
        self, name: str, *, cursor: str = "nextToken", next_cursor: str = "nextToken", **arguments: Any
    ) -> AsyncGenerator[Mapping[str, Any]]:
        """Each page of a list. `cursor` and `next_cursor` are the fields of the request and of the response."""
        used: set[str] = set()
        page: dict[str, str] = {}
        while True:
            response = await self.call(name, **arguments, **page)
            yield response
            following = response.get(next_cursor)
            if not following:
                return
            if not isinstance(following, str) or following in used:  # it would go on forever
                raise AwsCallError(f"{name}: the pages repeat")
            used.add(following)
            page = {cursor: following}

    async def items(self, name: str, member: str, **arguments: Any) -> list[Any]:
        """The items in `member` of all pages; see `pages`. A list counts only with all of its pages."""
        items: list[Any] = []
        async for response in self.pages(name, **arguments):
            found = response.get(member, [])
            if not isinstance(found, list):
                raise AwsCallError(f"{name}: the response has no list")
            items += found
        return items

    def _method(self, name: str) -> Callable[..., Awaitable[Mapping[str, Any]]]:
        method: Callable[..., Awaitable[Mapping[str, Any]]] = getattr(self._client, xform_name(name))
        return method


@asynccontextmanager
async def open_json_client(
    service: str, connection: ConnectionConfig, endpoint_url: str | None, **settings: Any
) -> AsyncIterator[tuple[Any, RenewableCredentials]]:
    """Open a client for calls with checked arguments; `settings` as in `open_service_client`, which it raises as."""
    defaults: dict[str, Any] = {
        "max_pool_connections": connection.max_connections,
        "http_session_cls": TracingSession,
        "parameter_validation": False,  # names are already checked
    }
    region = resolve_endpoint(connection).region
    async with open_service_client(service, connection, region, endpoint_url, **defaults | settings) as opened:
        _require_json_responses(opened[0])
        yield opened


def _require_json_responses(client: Any) -> None:
    """Let calls of an open client fail if the response is no JSON object; botocore takes that for an empty one.

    A list that a proxy answers with a page would be a list without items.
    """
    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register(f"before-parse.{service}", _require_json)


def _require_json(response_dict: Mapping[str, Any], operation_model: Any, **_: object) -> None:
    shape = operation_model.output_shape
    if response_dict["status_code"] >= 300 or not getattr(shape, "members", None) or "payload" in shape.serialization:
        return
    try:
        is_object = isinstance(json.loads(response_dict["body"]), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise ResponseParserError(f"HTTP {response_dict['status_code']} without a JSON object")
