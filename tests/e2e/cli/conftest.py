"""Rule: tests of the command `tune` share the surroundings of the command line's own tests."""

from __future__ import annotations

from tests.integration.cli.conftest import cli, serve, surroundings

__all__ = ["cli", "serve", "surroundings"]
