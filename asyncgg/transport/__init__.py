"""Rule: how a batch becomes an HTTP request, and its answer a Reply, lives here; no retry, no limit."""

from asyncgg.transport.aws import AwsTransport, open_transport
from asyncgg.transport.base import Refreshable, Transport
from asyncgg.transport.caller import Identity, identity
from asyncgg.transport.connection import Connection, Target, resolve

__all__ = [
    "AwsTransport",
    "Connection",
    "Identity",
    "Refreshable",
    "Target",
    "Transport",
    "identity",
    "open_transport",
    "resolve",
]
