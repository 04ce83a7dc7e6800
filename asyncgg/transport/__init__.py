"""Rule: how a batch becomes an HTTP request, and its answer a Reply, lives here; no retry, no limit."""

from asyncgg.transport.aws import AwsTransport
from asyncgg.transport.base import Refreshable, Transport
from asyncgg.transport.caller import Identity, identity
from asyncgg.transport.connection import Connection, Target, resolve
from asyncgg.transport.fast import FastTransport
from asyncgg.transport.opening import Kind, open_transport
from asyncgg.transport.reads import CoreFilter, Page, Reads

__all__ = [
    "AwsTransport",
    "Connection",
    "CoreFilter",
    "FastTransport",
    "Identity",
    "Kind",
    "Page",
    "Reads",
    "Refreshable",
    "Target",
    "Transport",
    "identity",
    "open_transport",
    "resolve",
]
