"""The fixtures of the command line tests."""

from __future__ import annotations

from tests.integration.cli.conftest import cli, serve, surroundings

__all__ = ["cli", "serve", "surroundings"]
