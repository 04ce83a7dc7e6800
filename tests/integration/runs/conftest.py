"""Fixtures of the runs tests: those of the command line tests."""

from tests.integration.cli.conftest import cli, serve, surroundings

__all__ = ["cli", "serve", "surroundings"]
