"""Rule: how a batch becomes an HTTP request, and its answer a Reply, lives here; no retry, no limit."""

from asyncgg.transport.base import Refreshable, Transport
from asyncgg.transport.config import ConnectionConfig, Endpoint, resolve_endpoint
from asyncgg.transport.factory import TransportKind, open_transport
from asyncgg.transport.native import NativeTransport
from asyncgg.transport.reads import CoreFilter, ListingTransport, Page
from asyncgg.transport.sdk import SdkTransport
from asyncgg.transport.sts import CallerIdentity, get_caller_identity

__all__ = [
    "CallerIdentity",
    "ConnectionConfig",
    "CoreFilter",
    "Endpoint",
    "ListingTransport",
    "NativeTransport",
    "Page",
    "Refreshable",
    "SdkTransport",
    "Transport",
    "TransportKind",
    "get_caller_identity",
    "open_transport",
    "resolve_endpoint",
]
