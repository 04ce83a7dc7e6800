"""The fixtures of the command line tests."""

from __future__ import annotations

from tests.integration.cli.conftest import aws_environment, cli, serve

__all__ = ["aws_environment", "cli", "serve"]
