"""Tests of what the AWS sessions of one command share."""

from __future__ import annotations

from typing import Any

from aiobotocore.session import AioSession

from asyncgg.sharing import sharing
from asyncgg.transport.session import SharedTlsSession, new_session


def context_of(**settings: Any) -> Any:
    """The TLS context of a new HTTP session."""
    return SharedTlsSession(**settings)._build_ssl_contexts(None)[0]


def test_http_sessions_of_one_command_share_a_tls_context() -> None:
    """Only with equal settings, and not with those of another command."""
    with sharing():
        first = context_of()
        assert context_of() is first
        assert context_of(verify=False) is not first
    with sharing():
        assert context_of() is not first


def test_sessions_have_hooks_of_their_own() -> None:
    """A handler of one session is not called by another one; both have those of botocore."""
    first, second = new_session(None), new_session(None)
    own = AioSession().get_component("event_emitter")
    first.register("before-call", lambda **_: None)
    counts = [
        len(hooks._emitter._handlers.prefix_search("before-call.s3.GetObject"))
        for hooks in (first.get_component("event_emitter"), second.get_component("event_emitter"), own)
    ]
    assert counts[1] == counts[2] > 0
    assert counts[0] == counts[1] + 1
