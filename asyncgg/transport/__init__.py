"""Rule: how a batch becomes an HTTP request, and its answer a Reply, lives here; no retry, no limit."""

from asyncgg.transport.aws import SdkTransport
from asyncgg.transport.base import Refreshable, Transport
from asyncgg.transport.caller import CallerIdentity, get_caller_identity
from asyncgg.transport.connection import ConnectionConfig, Endpoint, resolve_endpoint
from asyncgg.transport.fast import NativeTransport
from asyncgg.transport.opening import TransportKind, open_transport
from asyncgg.transport.reads import CoreFilter, ListingTransport, Page

__all__ = [
    "SdkTransport",
    "ConnectionConfig",
    "CoreFilter",
    "NativeTransport",
    "CallerIdentity",
    "TransportKind",
    "Page",
    "ListingTransport",
    "Refreshable",
    "Endpoint",
    "Transport",
    "get_caller_identity",
    "open_transport",
    "resolve_endpoint",
]
