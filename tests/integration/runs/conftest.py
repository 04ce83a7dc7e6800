"""Fixtures of the runs tests: those of the command line tests."""

from tests.integration.cli.conftest import aws_environment, cli, serve

__all__ = ["aws_environment", "cli", "serve"]
