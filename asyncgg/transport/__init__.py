"""Converts a batch to one HTTP request and its response to a reply, without retries."""

from asyncgg.transport.base import CoreFilter, ListingTransport, Page, Refreshable, Transport
from asyncgg.transport.config import ConnectionConfig, Endpoint, NoRegionError, resolve_endpoint
from asyncgg.transport.factory import TransportKind, open_transport
from asyncgg.transport.native import NativeTransport
from asyncgg.transport.sdk import SdkTransport
from asyncgg.transport.sts import CallerIdentity, get_caller_identity

__all__ = [
    "CallerIdentity",
    "ConnectionConfig",
    "CoreFilter",
    "Endpoint",
    "ListingTransport",
    "NativeTransport",
    "NoRegionError",
    "Page",
    "Refreshable",
    "SdkTransport",
    "Transport",
    "TransportKind",
    "get_caller_identity",
    "open_transport",
    "resolve_endpoint",
]
